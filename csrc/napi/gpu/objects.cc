#include "objects.h"

#include "../results.h"
#include "device_buffer.h"
#include "devices.h"
#include "event.h"
#include "graph.h"
#include "host_buffer.h"
#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

// Closes an object of any kind; those that are closed stay so.
napi_value dispose(napi_env env, napi_callback_info info) {
  napi_value value = nullptr;
  std::size_t count = 1;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  for (const napi_type_tag& tag :
       {DeviceBuffer::kTag, HostBuffer::kTag, Stream::kTag, Event::kTag, Graph::kTag}) {
    if (NativeObject* object = find_object(env, value, tag)) {
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
  for (const Methods& methods : {kDeviceBufferMethods, kHostBufferMethods, kStreamMethods,
                                 kEventMethods, kGraphMethods, Methods(kDispose)}) {
    napi_define_properties(env, objects, methods.size(), methods.data());
  }
  napi_define_properties(env, exports, kDeviceMethods.size(), kDeviceMethods.data());
  set_own(env, exports, {"cuda", objects});
}

}  // namespace rmsnorm::napi
