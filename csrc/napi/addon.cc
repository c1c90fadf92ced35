// The names that the addon exports, and its loading: once in every environment (the main thread, a
// worker), or more often. What environments share is of the process and lives in the backends.

#include <node_api.h>

#include <iterator>

#include "environment.h"
#include "gpu/objects.h"
#include "method.h"
#include "ops/calls.h"
#include "ops/plain_calls.h"
#include "ops/plan.h"
#include "results.h"

namespace rmsnorm::napi {
namespace {

constexpr napi_property_descriptor kMethods[] = {
    method<forward>("forward"),
    method<backward>("backward"),
    method<plain_forward>("plainForward"),
    method<plain_backward>("plainBackward"),
    method<forward_async>("forwardAsync"),
    method<backward_async>("backwardAsync"),
    method<create_plan>("createPlan"),
    method<advise_huge_pages>("adviseHugePages"),
    method<convert>("convert"),
    method<cpu_variants>("cpuVariants"),
    method<cpu_variant>("cpuVariant"),
    method<set_cpu_variant>("setCpuVariant"),
    method<num_threads>("numThreads"),
    method<set_num_threads>("setNumThreads"),
};

napi_value init(napi_env env, napi_value exports) {
  if (const Status status = Environment::make(env); !status.ok()) return throw_status(env, status);
  napi_define_properties(env, exports, std::size(kMethods), kMethods);
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
