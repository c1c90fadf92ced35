// The GPUs of this machine: their properties, contexts and loaded kernels.
//
// A device is used through its primary context. The CUDA runtime API and other libraries of the
// process use the same context. So a device pointer of one library is valid in all the others.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../../op/status.h"
#include "../kernels/kernel_registry.h"
#include "driver.h"
#include "kernel_modules.h"

namespace rmsnorm::cuda {

// The name of a device in messages: "'cuda:1'" for ordinal 1.
inline std::string device_name(int ordinal) { return "'cuda:" + std::to_string(ordinal) + "'"; }

struct DeviceProperties {
  int ordinal = 0;  // the N of `cuda:N`
  std::string name;
  int major = 0, minor = 0;       // compute capability
  std::int64_t total_memory = 0;  // bytes
  int multiprocessors = 0;
  int shared_memory_optin = 0;  // the most bytes of a block whose kernel opts in (load_kernel())
  int cache_bytes = 0;          // size of the L2 cache
};

class Device {
 public:
  Device(CUdevice handle, DeviceProperties properties, const KernelImages& images)
      : handle_(handle), properties_(std::move(properties)), modules_(images, properties_) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceProperties& properties() const { return properties_; }
  std::string name() const { return device_name(properties_.ordinal); }

  // Finds the kernel of an entry (KernelModules::find()). The kernel is valid until
  // release_devices(). Call within a DeviceScope of this device.
  Status kernel(const KernelEntry& entry, CUfunction* kernel) {
    count_launch(entry);
    return modules_.find(entry, kernel);
  }

  // Loads every kernel that kernel() can return, so that no later call has to load one. Call it
  // where later loading would take too long or is not allowed: before a capture, for example. Call
  // within a DeviceScope of this device. Errors: kCuda.
  Status load_all_kernels() { return modules_.load_all(); }

  // What the kernels of a file were loaded from (KernelModules::loaded_image()).
  std::string loaded_image(std::size_t file) const { return modules_.loaded_image(file); }

  // How often kernel() was asked for a kernel: once for each launch. Simultaneous launches from
  // several threads may count as one, because an exact count would need a locked instruction in
  // every launch.
  std::uint32_t launch_count(const KernelEntry& entry) const {
    return launches_[kernel_number(entry)].load(std::memory_order_relaxed);
  }

  // Returns `status`, the result of a driver call. If it is a fault (is_fault()), remembers the
  // first one. After a fault the driver refuses every call that uses the context, so the messages
  // of later faults name the first.
  Status note_fault(Status status);

  // Drops a reference to an object whose destructor calls the driver within this device's context.
  // If the context cannot be entered now, the next DeviceScope that enters it drops the reference.
  // Any thread may call.
  void destroy(std::shared_ptr<void> object) noexcept;

  // From now on release_devices() keeps the context until the process ends, because something in it
  // may be in use for an unknown time.
  void keep_context() { keeps_context_ = true; }

 private:
  friend class DeviceScope;
  friend void release_devices();

  CUresult enter(CUcontext* context) noexcept;
  void leave() noexcept;
  void destroy_postponed() noexcept;
  void release();
  void count_launch(const KernelEntry& entry) {
    launches_[kernel_number(entry)].store(launch_count(entry) + 1, std::memory_order_relaxed);
  }

  const CUdevice handle_;
  const DeviceProperties properties_;
  KernelModules modules_;
  std::array<std::atomic<std::uint32_t>, kKernelCount> launches_{};
  std::mutex mutex_;             // guards the non-atomic members below
  CUcontext context_ = nullptr;  // retained while not null
  int scopes_ = 0;               // living DeviceScopes of all threads
  std::string fault_;            // the driver's name of the first fault; empty if none
  std::vector<std::shared_ptr<void>> postponed_;  // waiting for destroy_postponed()
  std::atomic<bool> has_postponed_{false};
  std::atomic<bool> keeps_context_{false};
};

// While it lives, the device's context is current on this thread. The destructor restores the
// previous context. Scopes may be nested, and end in reverse order.
class DeviceScope {
 public:
  DeviceScope() = default;
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  // Call it at most once. Streams, events and memory of this device may be used only after it has
  // succeeded. Errors: kCuda.
  Status enter(Device& device);
  // The same, for callers that cannot report an error, such as destructors. False after an error.
  [[nodiscard]] bool try_enter(Device& device) noexcept;

 private:
  CUresult enter(Device& device, const char** function) noexcept;

  Device* device_ = nullptr;
  CUcontext previous_ = nullptr;
};

// Whether a driver result means that the context is unusable.
bool is_fault(int result);

// Counts the devices: at least 1. The first call of the process opens the driver and reads the
// kernels; after an error the next call tries again. Makes no context. Errors: kCudaUnavailable
// with the reason; kCuda.
Status device_count(int* count);

// Finds the device with this ordinal. Each device has one Device object, which is never destroyed.
// Errors: as device_count; kInvalidValue if there is no such device.
Status find_device(int ordinal, Device** device);

// Releases the contexts and kernels of all devices, except where a DeviceScope is in use or
// keep_context() was called. Call it when the last JavaScript environment ends. A later DeviceScope
// retains the context again.
void release_devices();

}  // namespace rmsnorm::cuda
