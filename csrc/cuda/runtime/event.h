// A user's event, and what it stands for: nothing yet, a point in the order of a stream, or one in
// a capture.
#pragma once

#include <memory>

#include "../driver/device.h"
#include "memory.h"

namespace rmsnorm::cuda {

struct Capture;

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
