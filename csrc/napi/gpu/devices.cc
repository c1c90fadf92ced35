// devices(): what the CUDA devices are, as plain objects.

#include <string>
#include <vector>

#include "../../cuda/driver/device.h"
#include "../results.h"
#include "objects.h"

namespace rmsnorm::napi {
namespace {

Status describe_devices(napi_env env, std::vector<napi_value>* list) {
  int count = 0;
  RMSNORM_TRY(cuda::device_count(&count));
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cuda::Device* device = nullptr;
    RMSNORM_TRY(cuda::find_device(ordinal, &device));
    const cuda::DeviceProperties& properties = device->properties();
    const std::string capability =
        std::to_string(properties.major) + "." + std::to_string(properties.minor);
    list->push_back(make_object(
        env, {{"name", make_string(env, properties.name)},
              {"computeCapability", make_string(env, capability)},
              {"totalMemory", make_number(env, static_cast<double>(properties.total_memory))},
              {"multiprocessors", make_number(env, properties.multiprocessors)},
              {"driverVersion", make_string(env, cuda::version_text(cuda::driver().version))}}));
  }
  return {};
}

napi_value devices(napi_env env, napi_callback_info) {
  std::vector<napi_value> list;
  const Status status = describe_devices(env, &list);
  return status.ok() ? make_list(env, list) : make_error(env, status);
}

constexpr napi_property_descriptor kMethods[] = {method<devices>("devices")};

}  // namespace

constinit const Methods kDeviceMethods = kMethods;

}  // namespace rmsnorm::napi
