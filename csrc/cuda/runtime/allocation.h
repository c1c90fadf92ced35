// Memory that outlives the work that uses it: on a device, or page-locked on the host. Releasing it
// never waits for that work (memory_pool.h).
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../driver/device.h"
#include "memory_pool.h"
#include "stream.h"

namespace rmsnorm::cuda {

class Allocation {
 public:
  // `bytes` may be 0. If there is no room, released memory is waited for. Memory for the next work
  // of `stream`, which may be null, may be some that earlier work of it still uses. Errors: kCuda.
  static Status on_device(Device& device, std::int64_t bytes, const StreamPtr& stream,
                          AllocationPtr* allocation);
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
  // What is allocated for it here: at least bytes(), or 0 of memory of another library.
  std::int64_t held_bytes() const;

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
  Status allocate(std::int64_t bytes, Memory OwnedMemory::*memory);
  void take(OwnedPtr memory, const StreamPtr& stream);
  void add_use(Use use) noexcept;
  void drop_passed_uses() noexcept;

  Device& device_;
  OwnedPtr owned_;  // null if the memory is not ours, or none
  CUdeviceptr pointer_ = 0;
  char* host_ = nullptr;
  std::int64_t bytes_ = 0;
  std::vector<Use> uses_;  // with room for one at least
};

}  // namespace rmsnorm::cuda
