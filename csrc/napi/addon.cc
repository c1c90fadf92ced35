// The exports and the initialisation of the addon. Every JavaScript environment (the main thread, a
// worker) may load the addon several times. State that environments share belongs to the process.
// It lives in the backends (cpu/, cuda/) and in the global variables of napi/.

#include <node_api.h>

#include "environment.h"
#include "gpu/object_call.h"
#include "ops/calls.h"
#include "results.h"

namespace rmsnorm::napi {
namespace {

napi_value init(napi_env env, napi_value exports) {
  Status status = Environment::make(env);
  if (status.ok()) status = export_calls(env, exports);
  if (!status.ok()) return throw_status(env, status);
  set_own(env, exports, {"package", make_string(env, RMSNORM_PACKAGE)});
  export_gpu(env, exports);
  return exports;
}

}  // namespace
}  // namespace rmsnorm::napi

NAPI_MODULE_INIT() {
  try {
    return rmsnorm::napi::init(env, exports);
  } catch (const std::bad_alloc&) {
    return rmsnorm::napi::throw_status(env, rmsnorm::napi::out_of_memory());
  }
}
