#include "device.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <utility>

namespace rmsnorm::cuda {
namespace {

// Results of driver calls (CUresult) that leave a context unusable. The driver's documentation says
// so of each, except 214 and 220. These two are listed as well, because after an uncorrectable
// memory or link error nothing on the device can be relied on.
constexpr int kFaults[] = {
    214,  // uncorrectable memory error
    220,  // uncorrectable NVLink error
    226,  // contained exception
    700,  // illegal address
    702,  // launch timeout
    710,  // assert
    714,  // hardware stack error
    715,  // illegal instruction
    716,  // misaligned address
    717,  // invalid address space
    718,  // invalid program counter
    719,  // launch failed
    721,  // tensor memory leak
    810,  // client terminated by MPS (Multi-Process Service)
    911,  // error in a device outside CUDA
};

Status read_properties(CUdevice handle, int ordinal, DeviceProperties* properties) {
  properties->ordinal = ordinal;
  char name[256] = {};
  RMSNORM_TRY(RMSNORM_CUDA(cuDeviceGetName, name, sizeof(name) - 1, handle));
  properties->name = name;
  std::size_t bytes = 0;
  RMSNORM_TRY(RMSNORM_CUDA(cuDeviceTotalMem_v2, &bytes, handle));
  properties->total_memory = static_cast<std::int64_t>(bytes);
  const std::pair<CUdevice_attribute, int*> attributes[] = {
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &properties->major},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &properties->minor},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &properties->multiprocessors},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &properties->shared_memory_optin},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &properties->cache_bytes},
  };
  for (const auto& [attribute, value] : attributes) {
    RMSNORM_TRY(RMSNORM_CUDA(cuDeviceGetAttribute, value, attribute, handle));
  }
  return {};
}

struct DeviceList {
  KernelImages images;
  std::vector<std::unique_ptr<Device>> devices;
};

Status make_devices(DeviceList* list) {
  RMSNORM_TRY(open_driver());
  RMSNORM_TRY(read_kernels(&list->images));
  for (int ordinal = 0; ordinal < driver().devices; ++ordinal) {
    CUdevice handle = 0;
    RMSNORM_TRY(RMSNORM_CUDA(cuDeviceGet, &handle, ordinal));
    DeviceProperties properties;
    RMSNORM_TRY(read_properties(handle, ordinal, &properties));
    list->devices.push_back(std::make_unique<Device>(handle, std::move(properties), list->images));
  }
  return {};
}

// The devices of the process: null until make_devices() has succeeded. The list is never destroyed,
// because the driver may be unloaded before the addon when the process ends.
std::mutex devices_mutex;
std::atomic<const DeviceList*> known_devices{nullptr};

Status all_devices(const DeviceList** list) {
  *list = known_devices.load();
  if (*list != nullptr) return {};
  const std::lock_guard lock(devices_mutex);
  *list = known_devices.load();
  if (*list != nullptr) return {};
  auto made = std::make_unique<DeviceList>();
  RMSNORM_TRY(make_devices(made.get()));
  *list = made.release();
  known_devices.store(*list);
  return {};
}

}  // namespace

bool is_fault(int result) {
  return std::find(std::begin(kFaults), std::end(kFaults), result) != std::end(kFaults);
}

Status device_count(int* count) {
  const DeviceList* list = nullptr;
  RMSNORM_TRY(all_devices(&list));
  *count = static_cast<int>(list->devices.size());
  return {};
}

Status find_device(int ordinal, Device** device) {
  const DeviceList* list = nullptr;
  RMSNORM_TRY(all_devices(&list));
  const int count = static_cast<int>(list->devices.size());
  if (ordinal < 0 || ordinal >= count) {
    return {Code::kInvalidValue, "There is no device " + device_name(ordinal) +
                                     "; the last device is " + device_name(count - 1)};
  }
  *device = list->devices[static_cast<std::size_t>(ordinal)].get();
  return {};
}

void release_devices() {
  const DeviceList* list = known_devices.load();
  if (list == nullptr) return;
  for (const auto& device : list->devices) device->release();
}

CUresult Device::enter(CUcontext* context) noexcept {
  const std::lock_guard lock(mutex_);
  if (context_ == nullptr) {
    const CUresult result = driver().cuDevicePrimaryCtxRetain(&context_, handle_);
    if (result != CUDA_SUCCESS) return result;
  }
  *context = context_;
  ++scopes_;
  return CUDA_SUCCESS;
}

void Device::leave() noexcept {
  const std::lock_guard lock(mutex_);
  --scopes_;
}

void Device::destroy(std::shared_ptr<void> object) noexcept {
  if (object == nullptr) return;
  DeviceScope scope;
  if (scope.try_enter(*this)) {
    object.reset();
    return;
  }
  const std::lock_guard lock(mutex_);
  try {
    postponed_.push_back(std::move(object));
    has_postponed_ = true;
  } catch (const std::bad_alloc&) {
    // There is no memory to postpone the object. Its destructor then runs outside the context, so
    // the driver keeps what the object owns.
  }
}

// Call within a DeviceScope.
void Device::destroy_postponed() noexcept {
  if (!has_postponed_) return;
  std::vector<std::shared_ptr<void>> objects;
  const std::lock_guard lock(mutex_);
  objects.swap(postponed_);
  has_postponed_ = false;
}

// Errors are ignored, because no caller is left to receive them. If the context cannot be entered,
// nothing is released.
void Device::release() {
  {
    DeviceScope scope;
    if (has_postponed_ && !scope.try_enter(*this)) return;
  }
  const std::lock_guard lock(mutex_);
  if (context_ == nullptr || scopes_ > 0 || keeps_context_) return;
  CUcontext previous = nullptr;
  driver().cuCtxGetCurrent(&previous);
  if (driver().cuCtxSetCurrent(context_) != CUDA_SUCCESS) return;
  modules_.unload();
  driver().cuCtxSetCurrent(previous == context_ ? nullptr : previous);
  driver().cuDevicePrimaryCtxRelease_v2(handle_);
  context_ = nullptr;
}

Status Device::note_fault(Status status) {
  const DriverError& error = status.driver_error();
  if (!is_fault(error.number)) return status;
  const std::lock_guard lock(mutex_);
  if (fault_.empty()) {
    fault_ = error.name != nullptr ? error.name : "error " + std::to_string(error.number);
    return status;
  }
  return {status.code(),
          status.message() + ". An earlier call on " + name() + " failed with " + fault_ +
              "; since then this process cannot use the device. Start a new process",
          error};
}

DeviceScope::~DeviceScope() {
  if (device_ == nullptr) return;
  driver().cuCtxSetCurrent(previous_);
  device_->leave();
}

CUresult DeviceScope::enter(Device& device, const char** function) noexcept {
  *function = "cuCtxGetCurrent";
  CUresult result = driver().cuCtxGetCurrent(&previous_);
  if (result != CUDA_SUCCESS) return result;
  CUcontext context = nullptr;
  *function = "cuDevicePrimaryCtxRetain";
  result = device.enter(&context);
  if (result != CUDA_SUCCESS) return result;
  *function = "cuCtxSetCurrent";
  result = driver().cuCtxSetCurrent(context);
  if (result != CUDA_SUCCESS) {
    device.leave();
    return result;
  }
  device_ = &device;
  device.destroy_postponed();
  return CUDA_SUCCESS;
}

Status DeviceScope::enter(Device& device) {
  const char* function = nullptr;
  const CUresult result = enter(device, &function);
  return check(result, function);
}

bool DeviceScope::try_enter(Device& device) noexcept {
  const char* function = nullptr;
  return enter(device, &function) == CUDA_SUCCESS;
}

}  // namespace rmsnorm::cuda
