// Points in the order of a stream: fences of our own, and a user's events.
#pragma once

#include <atomic>
#include <memory>

#include "../driver/device.h"
#include "memory.h"

namespace rmsnorm::cuda {

// Whether calls on the stream become part of a capture, whoever began it; true if the driver does
// not say. Within a DeviceScope.
bool may_be_captured(CUstream stream) noexcept;

// Passed when all that was enqueued before it has run, or never will because the context has
// failed. Memory waits for fences, on any thread.
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

  bool has_passed() noexcept { return ask(driver().cuEventQuery); }
  // Waits, if that is possible; returns whether it has passed. It waits for the stream alone:
  // waiting for the whole context would invalidate every capture in it, of whatever thread.
  bool wait() noexcept { return ask(driver().cuEventSynchronize); }

 private:
  enum class State { kUnrecorded, kRecorded, kPassed };

  bool ask(CUresult (*question)(CUevent)) noexcept;
  // The driver's answer to whether it has passed.
  void take(CUresult result) noexcept;

  Device& device_;
  std::shared_ptr<EventHandle> event_;
  std::atomic<State> state_{State::kUnrecorded};
};

struct Capture;

// A user's event, and what it stands for: nothing yet, a point in the order of a stream, or one in
// a capture.
class Event {
 public:
  // Errors: kCuda.
  static Status make(Device& device, bool has_timing, std::unique_ptr<Event>* event);

  explicit Event(Device& device) : device_(device) {}
  ~Event() { device_.destroy(std::move(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Device& device() const { return device_; }

  // kInvalidState if it was recorded during a capture: it comes to pass when the graph is launched.
  Status check_waitable() const;
  // As if it had passed, before it is recorded. Errors: kCuda, of work before it, too; as above.
  Status has_passed(bool* has_passed) const;
  Status synchronize() const;

  // From this event to `end`, both of which have passed. Errors: kInvalidState if one has not, or
  // was made without timing; as above.
  Status elapsed(const Event& end, float* milliseconds) const;

 private:
  friend class Stream;

  Device& device_;
  std::shared_ptr<EventHandle> event_;
  bool has_timing_ = false;
  bool is_recorded_ = false;
  std::shared_ptr<Capture> capture_;  // that it was recorded in
};

}  // namespace rmsnorm::cuda
