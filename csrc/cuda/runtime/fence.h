// A point in the order of a stream: passed when all that was enqueued before it has run, or never
// will because the context has failed. Memory waits for fences, on any thread.
#pragma once

#include <atomic>
#include <memory>

#include "../driver/device.h"
#include "memory.h"

namespace rmsnorm::cuda {

// Whether calls on the stream become part of a capture, whoever began it; true if the driver does
// not say. Within a DeviceScope.
bool may_be_captured(CUstream stream) noexcept;

class Fence {
 public:
  explicit Fence(Device& device) : device_(device) {}
  ~Fence() { device_.destroy(std::move(event_)); }
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // Once, within a DeviceScope, before anything else. Errors: kCuda.
  Status make();

  // Puts the fence here and now, within a DeviceScope. If the driver refuses, the fence stays
  // unrecorded: it has not passed, and cannot be waited for. One thread at a time.
  void record(CUstream stream) noexcept;
  bool is_recorded() const { return state_ != State::kUnrecorded; }
  // The same for a stream that is about to go: if the driver refuses, waits for the stream. Does
  // nothing while the stream is being captured.
  void settle(CUstream stream) noexcept;

  // For a caller that knows that all before it has run.
  void note_passed() { state_ = State::kPassed; }

  bool has_passed() noexcept;
  // Waits, if that is possible; returns whether it has passed. It waits for the stream alone:
  // waiting for the whole context would invalidate every capture in it, of whatever thread.
  bool wait() noexcept;

 private:
  enum class State { kUnrecorded, kRecorded, kPassed };

  // The driver's answer to whether it has passed.
  void take(CUresult result) noexcept;

  Device& device_;
  std::shared_ptr<EventHandle> event_;
  std::atomic<State> state_{State::kUnrecorded};
};

}  // namespace rmsnorm::cuda
