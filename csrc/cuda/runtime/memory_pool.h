// The pool of released memory. Memory is freed only after the work that uses it has run. Device
// memory stays cached for the next allocation: the driver allocates slowly and, to free, may wait
// for the whole device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memory.h"
#include "stream.h"
#include "stream_order.h"

namespace rmsnorm::cuda {

// Work that uses memory: all work of a stream up to number `enqueued`, or all work before a fence.
struct Use {
  StreamPtr stream;  // null in the pool, because any thread may take memory from there
  std::shared_ptr<StreamOrder> order;  // of the stream; null for work before a fence
  std::uint64_t enqueued = 0;
  std::shared_ptr<Fence> fence;
  bool is_fenced = false;  // `fence` covers the work, or is null because it has run
};

// Whether the work has run. Asks the driver if this is not known.
bool has_passed(Use& use) noexcept;
// Waits if possible; returns whether the work has run.
bool wait(Use& use) noexcept;

// The memory that an allocation owns, on the device or on the host, with the work that still uses
// it. It is its own list node, so adding it to the list of released memory cannot fail.
struct OwnedMemory {
  explicit OwnedMemory(Device& device) : device(device) {}

  bool is_on_device() const { return on_device.bytes() > 0; }
  // Bytes to allocate on the device for a request of `bytes`. Large sizes are rounded up, so that
  // they are likely to recur.
  static std::int64_t rounded(std::int64_t bytes);

  Device& device;
  DeviceMemory on_device;
  PinnedMemory on_host;
  std::vector<Use> uses;  // their streams are null
  std::unique_ptr<OwnedMemory> next;
};
using OwnedPtr = std::unique_ptr<OwnedMemory>;

// Puts memory into the pool. Each use whose work may not have run must have a fence or an order.
void retire(OwnedPtr memory) noexcept;

// Takes released memory of a device, of at least `bytes` bytes and not many more. Null if there is
// none. Only work of the stream of `order` may still use the memory. If `order` is null, no work
// may.
OwnedPtr reuse(Device& device, std::int64_t bytes, const StreamOrder* order) noexcept;

// Frees released memory whose work has run: all page-locked memory, and device memory beyond the
// pool's bounds. Does not wait. Memory that this thread cannot free now stays in the pool.
void free_surplus(Device& device) noexcept;

// Frees all released memory of every device whose work has run. Does not wait.
void empty_pool() noexcept;

// Waits for the work that uses a device's released memory, and frees the memory.
void wait_for_retired(Device& device) noexcept;

// The same for every device. Call it when the last JavaScript environment ends. Memory that cannot
// be waited for is never freed.
void drain_retired() noexcept;

// Never frees the memory, because it may be in use until the process ends. Keeps the context, too,
// because releasing the context would free the memory.
void keep_until_exit(OwnedPtr memory) noexcept;

}  // namespace rmsnorm::cuda
