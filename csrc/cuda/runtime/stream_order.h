// How far the work of a stream has come, for any thread: a Stream belongs to one, and what it has
// used may be wanted by another.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "../driver/device.h"
#include "event.h"

namespace rmsnorm::cuda {

class StreamOrder {
 public:
  StreamOrder(Device& device, CUstream handle) : device_(device), handle_(handle) {}

  // Whether the enqueued-th work is known to have run. Asks nobody.
  bool has_passed(std::uint64_t enqueued) const noexcept { return passed_ >= enqueued; }
  void note_passed(std::uint64_t enqueued) noexcept;

  // A fence behind the enqueued-th work, null if it has passed. False if none can be made now.
  bool fence(std::uint64_t enqueued, std::shared_ptr<Fence>* fence) noexcept;

  // From close() to open() no fence is made: the stream is captured, somebody else may capture it,
  // or it goes. `last` is the fence of all its work so far, null if that has passed.
  void close(std::uint64_t enqueued, std::shared_ptr<Fence> last) noexcept;
  void open() noexcept;

 private:
  Device& device_;
  std::atomic<std::uint64_t> passed_{0};
  std::mutex mutex_;  // of all below
  CUstream handle_;
  bool is_open_ = true;
  std::uint64_t fenced_ = 0;     // how much last_ covers
  std::shared_ptr<Fence> last_;  // null if that has passed
};

}  // namespace rmsnorm::cuda
