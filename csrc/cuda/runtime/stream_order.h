// The progress of a stream's work, for any thread. A Stream belongs to one thread, but another
// thread may want to reuse memory that the stream's work uses.
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

  // Whether work number `enqueued` is known to have run. Makes no driver call.
  bool has_passed(std::uint64_t enqueued) const noexcept { return passed_ >= enqueued; }
  void note_passed(std::uint64_t enqueued) noexcept;

  // A fence after work number `enqueued`; null if that work has run. Returns false if no fence can
  // be made now.
  bool fence(std::uint64_t enqueued, std::shared_ptr<Fence>* fence) noexcept;

  // Between close() and open() no fence is made: the stream is being captured, another library may
  // capture it, or it is being closed. `enqueued` is the number of the stream's last work, and
  // `last` is the fence of all work so far; null if that work has run.
  void close(std::uint64_t enqueued, std::shared_ptr<Fence> last) noexcept;
  void open() noexcept;

 private:
  Device& device_;
  std::atomic<std::uint64_t> passed_{0};
  std::mutex mutex_;  // guards the members below
  CUstream handle_;
  bool is_open_ = true;
  std::uint64_t fenced_ = 0;     // number of the last work that last_ covers
  std::shared_ptr<Fence> last_;  // null if that work has run
};

}  // namespace rmsnorm::cuda
