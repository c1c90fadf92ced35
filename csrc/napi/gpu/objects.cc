#include "objects.h"

#include <iterator>

#include "../results.h"
#include "object_call.h"

namespace rmsnorm::napi {
namespace {

constexpr const ObjectClass* kClasses[] = {&kDeviceBuffers, &kHostBuffers, &kStreams, &kEvents,
                                           &kGraphs};

// Closes an object of any kind; those that are closed stay so.
napi_value dispose(napi_env env, napi_callback_info info) {
  napi_value value = nullptr;
  std::size_t count = 1;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  for (const ObjectClass* each : kClasses) {
    if (NativeObject* object = find_object(env, value, each->tag)) {
      object->close();
      return nullptr;
    }
  }
  return throw_status(env,
                      argument_error(env, Code::kWrongType, "object", "an object of a GPU", value));
}

}  // namespace

void export_gpu(napi_env env, napi_value exports) {
  constexpr napi_property_descriptor kDispose[] = {method<dispose>("dispose")};
  napi_value objects = nullptr;
  napi_create_object(env, &objects);
  for (const ObjectClass* each : kClasses) {
    napi_define_properties(env, objects, each->methods.size(), each->methods.data());
  }
  napi_define_properties(env, objects, std::size(kDispose), kDispose);
  napi_define_properties(env, exports, kDeviceMethods.size(), kDeviceMethods.data());
  set_own(env, exports, {"cuda", objects});
}

}  // namespace rmsnorm::napi
