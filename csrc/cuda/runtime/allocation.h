// Memory that outlives the work that uses it: on a device, or page-locked on the host. Releasing it
// never waits. What work in flight still uses is retired, and freed once that has run.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../driver/device.h"
#include "memory.h"
#include "stream.h"

namespace rmsnorm::cuda {

// Work that uses memory: all of a stream up to the enqueued-th, or all before a fence.
struct Use {
  StreamPtr stream;
  std::uint64_t enqueued = 0;
  std::shared_ptr<Fence> fence;  // null: passed, or the stream has not been asked for one
};

// What an allocation owns: one of the two, or neither. In the list of retired memory, which has
// room for all since the memory itself is the list, with the work that still uses it.
struct OwnedMemory {
  explicit OwnedMemory(Device& device) : device(device) {}

  Device& device;
  DeviceMemory on_device;
  PinnedMemory on_host;
  std::vector<Use> uses;  // without streams
  std::unique_ptr<OwnedMemory> next;
};

class Allocation {
 public:
  // `bytes` may be 0. If there is no room, retired memory is waited for. Errors: kCuda.
  static Status on_device(Device& device, std::int64_t bytes, AllocationPtr* allocation);
  static Status on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation);

  // Memory of another library, which is never freed here. Errors: kInvalidValue if the driver does
  // not know it for memory of this device, or for less than `bytes`; kCuda.
  static Status foreign(Device& device, CUdeviceptr pointer, std::int64_t bytes,
                        AllocationPtr* allocation);

  explicit Allocation(Device& device) : device_(device) {}
  ~Allocation();
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;

  Device& device() const { return device_; }
  CUdeviceptr pointer() const { return pointer_; }
  char* host() const { return host_; }
  std::int64_t bytes() const { return bytes_; }

  // The work that is the enqueued-th of the stream uses it.
  void use_on(const StreamPtr& stream, std::uint64_t enqueued) noexcept;
  // What comes before the fence, which may be null, uses it.
  void use_until(std::shared_ptr<Fence> fence) noexcept;

  // Never frees it, since somebody may use it until the process ends.
  void leave_to_process() noexcept;

  // Whether all work that uses it has run, and the same after waiting for that: false if it could
  // not be waited for.
  bool is_idle() noexcept;
  bool wait_until_idle() noexcept;

 private:
  Status check_foreign() const;
  template <class Memory>
  static Status make(Device& device, std::int64_t bytes, Memory OwnedMemory::*memory,
                     AllocationPtr* allocation);
  void add_use(Use use) noexcept;
  void drop_passed_uses() noexcept;

  Device& device_;
  std::unique_ptr<OwnedMemory> owned_;
  CUdeviceptr pointer_ = 0;
  char* host_ = nullptr;
  std::int64_t bytes_ = 0;
  std::vector<Use> uses_;  // with room for one at least
};

// Frees the retired memory whose work has run, of a device or of every device. Does not wait. What
// the driver does not let this thread free stays retired.
void free_retired(Device& device) noexcept;
void free_retired() noexcept;

// Waits for all retired memory, of every device, and frees it. For when the last who could use it
// has left. What cannot be waited for is left to the end of the process.
void drain_retired() noexcept;

}  // namespace rmsnorm::cuda
