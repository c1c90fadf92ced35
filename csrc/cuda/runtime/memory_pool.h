// Memory that nobody refers to any more. What work in flight still uses is freed once that has run.
// Memory of a device stays for the next allocation, since the driver takes long to allocate, and
// may wait for the whole device to free.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memory.h"
#include "stream.h"
#include "stream_order.h"

namespace rmsnorm::cuda {

// Work that uses memory: all of a stream up to the enqueued-th, or all before a fence.
struct Use {
  StreamPtr stream;                    // null once the memory is released, which any thread may use
  std::shared_ptr<StreamOrder> order;  // of that stream
  std::uint64_t enqueued = 0;
  std::shared_ptr<Fence> fence;
  bool is_fenced = false;  // the fence, which may be null if the work has passed, covers the work
};

// Whether the work has run. Asks the driver if that is not known.
bool has_passed(Use& use) noexcept;
// Waits, if that is possible; returns whether it has passed.
bool wait(Use& use) noexcept;

// What an allocation owns: one of the two, or neither. In a list, which has room for all since the
// memory itself is the list, with the work that still uses it.
struct OwnedMemory {
  explicit OwnedMemory(Device& device) : device(device) {}

  bool is_on_device() const { return on_device.bytes() > 0; }
  // Bytes to allocate for so many on the device: large blocks have sizes that are likely to return.
  static std::int64_t rounded(std::int64_t bytes);

  Device& device;
  DeviceMemory on_device;
  PinnedMemory on_host;
  std::vector<Use> uses;  // without streams
  std::unique_ptr<OwnedMemory> next;
};
using OwnedPtr = std::unique_ptr<OwnedMemory>;

// Releases memory, of whose uses those by streams have their order.
void retire(OwnedPtr memory) noexcept;

// Released memory of a device that holds the bytes, and is not much larger; null if there is none.
// No work uses it but that of `order`, which may be null for none.
OwnedPtr reuse(Device& device, std::int64_t bytes, const StreamOrder* order) noexcept;

// Frees released memory whose work has run: page-locked memory, and what a device has in the pool
// beyond its bounds. Does not wait. What the driver does not let this thread free stays.
void free_surplus(Device& device) noexcept;

// The same for all released memory, of every device.
void empty_pool() noexcept;

// Waits for all released memory of a device, and frees it.
void wait_for_retired(Device& device) noexcept;

// The same for every device. For when the last who could use it has left. What cannot be waited for
// is left to the end of the process.
void drain_retired() noexcept;

// Leaves memory that may be in use to the end of the process, and the context, which would take it
// along.
void leave_to_process(OwnedPtr memory) noexcept;

}  // namespace rmsnorm::cuda
