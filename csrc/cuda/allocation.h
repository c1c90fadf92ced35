// Memory that outlives the work that uses it: on a device, or page-locked on the host. Letting go
// of it never waits. What work in flight still uses is retired, and freed once that has run.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device.h"
#include "memory.h"
#include "queue.h"

namespace rmsnorm::cuda {

// What an allocation owns: one of the two, or neither.
struct OwnedMemory {
  DeviceMemory on_device;
  PinnedMemory on_host;
};

class Allocation {
 public:
  // `bytes` may be 0. If there is no room, retired memory is waited for. Errors: kCuda.
  static Status on_device(Device& device, std::int64_t bytes, AllocationPtr* allocation);
  static Status on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation);

  // Somebody else's memory, which is never freed here. Errors: kInvalidValue if the driver does not
  // know it for memory of this device, or for less than `bytes`; kCuda.
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

  // The work that is the enqueued-th of the queue uses it.
  void use_on(const QueuePtr& queue, std::uint64_t enqueued);
  // What comes before the mark, which may be null, uses it.
  void use_until(std::shared_ptr<Mark> mark);

  // Whether all work that uses it has run, and waiting for that.
  bool is_idle();
  void wait_until_idle();

 private:
  // The last work of a queue that uses it, or a mark behind it.
  struct Use {
    QueuePtr queue;
    std::uint64_t enqueued;
    std::shared_ptr<Mark> mark;
  };
  Status check_foreign() const;
  std::vector<std::shared_ptr<Mark>> marks();

  Device& device_;
  std::unique_ptr<OwnedMemory> owned_;
  CUdeviceptr pointer_ = 0;
  char* host_ = nullptr;
  std::int64_t bytes_ = 0;
  std::vector<Use> uses_;
};

// Frees the retired memory of a device whose time has come.
void free_retired(Device& device);

// Waits for all retired memory, of every device, and frees it.
void drain_retired();

}  // namespace rmsnorm::cuda
