// Memory that outlives the work that uses it, on a device or page-locked on the host. Releasing it
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
  // Both allocate `bytes` bytes, which may be 0. If there is no room, they wait until released
  // memory can be freed. on_device() returns memory for the next work of `stream`, which may be
  // null. Earlier work of that stream may still use the memory. Errors: kCuda.
  static Status on_device(Device& device, std::int64_t bytes, const StreamPtr& stream,
                          AllocationPtr* allocation);
  static Status on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation);

  // Another library's memory, which we never free. Errors: kInvalidValue if the driver does not
  // know it as memory of this device, or knows fewer than `bytes` bytes; kCuda.
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
  // The bytes that we allocated: at least bytes(), or 0 for another library's memory.
  std::int64_t allocated_bytes() const;

  // Records that work number `enqueued` of the stream uses the memory.
  void use_on(const StreamPtr& stream, std::uint64_t enqueued) noexcept;
  // Records that the work before the fence uses the memory. A null fence means that no work does.
  void use_until(std::shared_ptr<Fence> fence) noexcept;

  // Gives the memory up without ever freeing it, because it may be in use until the process ends.
  void keep_until_exit() noexcept;

  // Whether all work that uses the memory has run. wait_until_idle() waits for that work first, and
  // returns false if it cannot.
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
  OwnedPtr owned_;  // null if the memory is not ours, or if it is empty
  CUdeviceptr pointer_ = 0;
  char* host_ = nullptr;
  std::int64_t bytes_ = 0;
  std::vector<Use> uses_;  // has room for at least one, which add_use() needs
};

}  // namespace rmsnorm::cuda
