// The GPUs of this machine: what they are, their contexts, their copies of the kernels.
//
// A device is used through its primary context, which it shares with the CUDA runtime API and so
// with other libraries of the process: device pointers go from one to another.
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
#include "kernel_files.h"

namespace rmsnorm::cuda {

// "'cuda:1'" of 1, for messages.
inline std::string device_name(int ordinal) { return "'cuda:" + std::to_string(ordinal) + "'"; }

struct DeviceProperties {
  int ordinal = 0;  // what `cuda:N` counts
  std::string name;
  int major = 0, minor = 0;       // compute capability
  std::int64_t total_memory = 0;  // bytes
  int multiprocessors = 0;
  int shared_memory_optin = 0;  // bytes a block can have at most, after opting in
};

class Device {
 public:
  Device(CUdevice handle, DeviceProperties properties, const KernelImages& images)
      : handle_(handle), properties_(std::move(properties)), images_(images) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceProperties& properties() const { return properties_; }
  std::string name() const { return device_name(properties_.ordinal); }

  // The kernel of an entry; a launch of it may use all the shared memory of a block. Within a
  // DeviceScope of this device. The kernels are loaded when the first is asked for; each stays
  // valid until release_devices(), and costs no lock from its second time on. Errors: kCuda.
  Status kernel(const KernelEntry& row, CUfunction* kernel);

  // Loads every kernel, for a caller that cannot do so later. Within a DeviceScope. Errors: kCuda.
  Status load_all_kernels();

  // Passes on the status of a call, and remembers a fault, after which the driver refuses all that
  // uses the context: a later error's message then says that it is due to an earlier one.
  Status note_fault(Status status);

  // Drops a reference to an object whose destructor calls the driver within this device's context:
  // now, or, if the context cannot be entered now, as soon as a DeviceScope enters it. Any thread.
  void destroy(std::shared_ptr<void> object) noexcept;

  // From now on release_devices() leaves the context to the end of the process: something in it may
  // be in use for an unknown time.
  void keep_context() { keeps_context_ = true; }

 private:
  friend class DeviceScope;
  friend void release_devices();

  CUresult enter(CUcontext* context) noexcept;
  void leave() noexcept;
  void destroy_postponed() noexcept;
  void release();
  Status load_modules();
  Status load_kernel(const char* name, CUfunction* kernel) const;

  const CUdevice handle_;
  const DeviceProperties properties_;
  const KernelImages& images_;
  std::mutex mutex_;             // of all below, but that kernels_ is read without it
  CUcontext context_ = nullptr;  // retained while not null
  int scopes_ = 0;               // DeviceScopes of any thread
  std::vector<CUmodule> modules_;
  std::array<std::atomic<CUfunction>, kKernelCount> kernels_{};  // null until it was asked for
  std::atomic<bool> has_all_kernels_{false};
  std::string fault_;                             // the driver's name of the first one, or empty
  std::vector<std::shared_ptr<void>> postponed_;  // waits for destroy_postponed()
  std::atomic<bool> has_postponed_{false};
  std::atomic<bool> keeps_context_{false};
};

// For as long as it lives the device's context is current on this thread; then it is the one from
// before. Scopes may be nested, and end in the order opposite to their beginning.
class DeviceScope {
 public:
  DeviceScope() = default;
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  // Once at most. Errors: kCuda. Everything of this device's is called after it was ok.
  Status enter(Device& device);
  // The same for callers that cannot report an error, such as destructors.
  [[nodiscard]] bool try_enter(Device& device) noexcept;

 private:
  CUresult enter(Device& device, const char** function) noexcept;

  Device* device_ = nullptr;
  CUcontext previous_ = nullptr;
};

// Whether a result of the driver's leaves the context unusable.
bool is_fault(int result);

// How many devices there are, from 1 up; the first call of the process opens the driver. After an
// error the next call looks again. Makes no context. Errors: kCudaUnavailable with the reason;
// kCuda.
Status device_count(int* count);

// The device of an ordinal: there is one object for each, which stays. Errors: as device_count,
// and kInvalidValue if there is none.
Status find_device(int ordinal, Device** device);

// Releases the contexts and the kernels of all devices that no scope uses. For when the last who
// could call has left; a later call retains them anew.
void release_devices();

}  // namespace rmsnorm::cuda
