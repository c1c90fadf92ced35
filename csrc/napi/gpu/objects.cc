// The exports for GPUs: the list of devices, and the functions of GPU objects.

#include <iterator>
#include <string>
#include <vector>

#include "../../cuda/runtime/memory_pool.h"
#include "../results.h"
#include "object_call.h"

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

// Returns an error instead of throwing it.
Status devices(Arguments& arguments) {
  const napi_env env = arguments.env();
  std::vector<napi_value> list;
  const Status status = describe_devices(env, &list);
  arguments.returns(status.ok() ? make_list(env, list) : make_error(env, status));
  return {};
}

// Returns every kernel in the order of the registry: the kernel's name, the oldest architecture
// that it is launched on, and how often this process has launched it on the device.
Status launch_counts(ObjectCall& call, cuda::Device& device) {
  const napi_env env = call.env();
  std::vector<napi_value> list;
  for (const cuda::KernelEntry& entry : cuda::kernel_registry()) {
    const int oldest = cuda::oldest_architecture(entry.kind);
    list.push_back(make_object(env, {{"kernel", make_string(env, entry.name)},
                                     {"architecture", make_number(env, oldest)},
                                     {"launches", make_number(env, device.launch_count(entry))}}));
  }
  call.returns(make_list(env, list));
  return {};
}

// Returns the kernel files, and the image (machine code or PTX) that the device loaded from each.
Status loaded_images(ObjectCall& call, cuda::Device& device) {
  const napi_env env = call.env();
  std::vector<napi_value> list;
  for (const char* name : cuda::kKernelFiles) {
    const std::string image = device.loaded_image(cuda::kernel_file_number(name));
    list.push_back(
        make_object(env, {{"file", make_string(env, name)}, {"image", make_string(env, image)}}));
  }
  call.returns(make_list(env, list));
  return {};
}

// Returns the bytes of device memory that no process uses.
Status available_memory(ObjectCall& call, cuda::Device& device) {
  cuda::DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  std::size_t available = 0;
  std::size_t total = 0;
  RMSNORM_TRY(RMSNORM_CUDA(cuMemGetInfo_v2, &available, &total));
  call.returns(make_number(call.env(), static_cast<double>(available)));
  return {};
}

// Closes an object of any class. Idempotent.
Status dispose(Arguments& arguments) {
  NativeObject* const object = find_native_object(arguments.env(), arguments[0]);
  if (object == nullptr) return arguments.wrong_type(0, "object", "a GPU object");
  object->close();
  return {};
}

// Frees the memory cached for allocations and copies, except memory that work in flight uses.
Status empty_cache(ObjectCall& call) {
  call.environment().staging().clear();
  cuda::empty_pool();
  return {};
}

constexpr napi_property_descriptor kDevices[] = {method<devices>("devices")};
constexpr napi_property_descriptor kObjects[] = {
    method<launch_counts>("launchCounts"), method<available_memory>("availableMemory"),
    method<loaded_images>("loadedImages"), method<dispose>("dispose"),
    method<empty_cache>("emptyCache"),
};

}  // namespace

void export_gpu(napi_env env, napi_value exports) {
  napi_value objects = nullptr;
  napi_create_object(env, &objects);
  for (const Methods& methods :
       {Methods(kObjects), kDeviceBuffers, kHostBuffers, kStreams, kEvents}) {
    napi_define_properties(env, objects, methods.size(), methods.data());
  }
  napi_define_properties(env, exports, std::size(kDevices), kDevices);
  set_own(env, exports, {"cuda", objects});
}

}  // namespace rmsnorm::napi
