// A user's event, and what it stands for: nothing yet, a point in the order of a stream, or one in
// a capture.
#pragma once

#include <memory>

#include "../driver/device.h"
#include "memory.h"

namespace rmsnorm::cuda {

struct Capture;

class RecordedEvent {
 public:
  // Errors: kCuda.
  static Status make(Device& device, bool has_timing, std::unique_ptr<RecordedEvent>* event);

  explicit RecordedEvent(Device& device) : device_(device) {}
  ~RecordedEvent() { device_.destroy(std::move(event_)); }
  RecordedEvent(const RecordedEvent&) = delete;
  RecordedEvent& operator=(const RecordedEvent&) = delete;

  Device& device() const { return device_; }

  // kInvalidState if it was recorded during a capture: it comes to pass when the graph is launched.
  Status check_waitable() const;
  // As if it had passed, before it is recorded. Errors: kCuda, of work before it, too; as above.
  Status has_passed(bool* has_passed) const;
  Status synchronize() const;

  // From this event to `end`, both of which have passed. Errors: kInvalidState if one has not, or
  // was made without timing; as above.
  Status elapsed(const RecordedEvent& end, float* milliseconds) const;

 private:
  friend class Queue;

  Device& device_;
  std::shared_ptr<Event> event_;
  bool has_timing_ = false;
  bool is_recorded_ = false;
  std::shared_ptr<Capture> capture_;  // that it was recorded in
};

}  // namespace rmsnorm::cuda
