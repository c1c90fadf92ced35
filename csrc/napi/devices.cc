// devices(): what the CUDA devices are, as plain objects.

#include <string>

#include "../cuda/device.h"
#include "calls.h"
#include "errors.h"

namespace rmsnorm::napi {
namespace {

napi_value make_number(napi_env env, std::int64_t number) {
  napi_value value = nullptr;
  napi_create_int64(env, number, &value);
  return value;
}

Status describe_devices(napi_env env, napi_value list) {
  int count = 0;
  RMSNORM_TRY(cuda::device_count(&count));
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cuda::Device* device = nullptr;
    RMSNORM_TRY(cuda::find_device(ordinal, &device));
    const cuda::DeviceProperties& properties = device->properties();
    napi_value object = nullptr;
    napi_create_object(env, &object);
    const auto set = [&](const char* name, napi_value value) {
      napi_set_named_property(env, object, name, value);
    };
    set("name", make_string(env, properties.name));
    set("computeCapability", make_string(env, std::to_string(properties.major) + "." +
                                                  std::to_string(properties.minor)));
    set("totalMemory", make_number(env, properties.total_memory));
    set("multiprocessors", make_number(env, properties.multiprocessors));
    set("driverVersion", make_string(env, cuda::version_text(cuda::driver().version)));
    napi_set_element(env, list, static_cast<std::uint32_t>(ordinal), object);
  }
  return {};
}

}  // namespace

napi_value devices(napi_env env, napi_callback_info) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  const Status status = describe_devices(env, list);
  return status.ok() ? list : make_error(env, status);
}

}  // namespace rmsnorm::napi
