// Points in a stream's order: our own fences, and the user's events.
#pragma once

#include <atomic>
#include <memory>

#include "../driver/device.h"
#include "memory.h"

namespace rmsnorm::cuda {

// Whether calls on the stream become part of a capture, ours or another library's. Also true if the
// driver cannot tell. Call within a DeviceScope.
bool may_be_captured(CUstream stream) noexcept;

// A fence has passed when all work enqueued before it has run, or will never run because the
// context has failed. Fences tell when memory is no longer in use. Any thread may query a fence or
// wait for it.
class Fence {
 public:
  explicit Fence(Device& device) : device_(device) {}
  ~Fence() { device_.destroy(std::move(event_)); }
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // Call it once, before anything else, within a DeviceScope. Errors: kCuda.
  Status make();

  // Records the fence after the work enqueued so far. Call within a DeviceScope, on one thread at a
  // time. If the driver refuses because of a fault (is_fault()), the fence has passed. If it
  // refuses for another reason, the fence stays unrecorded: it has not passed and cannot be waited
  // for.
  void record(CUstream stream) noexcept;
  bool is_recorded() const { return state_ != State::kUnrecorded; }
  // Records the fence if it is still unrecorded, for a stream that is about to be released. If the
  // driver refuses, waits for the stream instead. Does nothing while the stream is being captured.
  void record_or_wait(CUstream stream) noexcept;

  // For a caller that knows that all work before the fence has run.
  void note_passed() { state_ = State::kPassed; }

  bool has_passed() noexcept { return query(driver().cuEventQuery); }
  // Waits if possible; returns whether the fence has passed. It waits only for the fence's stream:
  // waiting for the whole context would invalidate every capture in it, on any thread.
  bool wait() noexcept { return query(driver().cuEventSynchronize); }

 private:
  enum class State { kUnrecorded, kRecorded, kPassed };

  bool query(CUresult (*query_function)(CUevent)) noexcept;
  // Updates the state from the driver's answer.
  void update_state(CUresult result) noexcept;

  Device& device_;
  std::shared_ptr<EventHandle> event_;
  std::atomic<State> state_{State::kUnrecorded};
};

struct Capture;

// A user's event. It marks a point in a stream's order or in a capture. Until it is recorded, it
// marks nothing.
class Event {
 public:
  // Errors: kCuda.
  static Status make(Device& device, bool has_timing, std::unique_ptr<Event>* event);

  explicit Event(Device& device) : device_(device) {}
  ~Event() { device_.destroy(std::move(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Device& device() const { return device_; }

  // kInvalidState if the event was last recorded during a capture. It then marks a point in work
  // that does not run now, so nothing outside the capture can wait for it.
  Status check_waitable() const;
  // An event that was never recorded counts as passed. Errors: kCuda, also if work before the event
  // failed; as check_waitable.
  Status has_passed(bool* has_passed) const;
  Status synchronize() const;

  // The time from this event to `end`. Errors: kInvalidState if an event has no timing, was not
  // recorded or has not passed; kInvalidValue if the events belong to two devices; as has_passed.
  Status elapsed(const Event& end, float* milliseconds) const;

 private:
  friend class Stream;

  Device& device_;
  std::shared_ptr<EventHandle> event_;
  bool has_timing_ = false;
  bool is_recorded_ = false;
  std::shared_ptr<Capture> capture_;  // of the last recording; null if it was in no capture
};

}  // namespace rmsnorm::cuda
