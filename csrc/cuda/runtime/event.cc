#include "event.h"

namespace rmsnorm::cuda {

Status Event::make(Device& device, bool has_timing, std::unique_ptr<Event>* event) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_unique<Event>(device);
  made->event_ = std::make_shared<EventHandle>();
  RMSNORM_TRY(device.note_fault(
      made->event_->make(has_timing ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING)));
  made->has_timing_ = has_timing;
  *event = std::move(made);
  return {};
}

Status Event::check_waitable() const {
  if (capture_ == nullptr) return {};
  return {
      Code::kInvalidState,
      "The event was recorded during a capture: only streams of the same capture can wait for it"};
}

Status Event::has_passed(bool* has_passed) const {
  RMSNORM_TRY(check_waitable());
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const CUresult result = driver().cuEventQuery(event_->get());
  *has_passed = result == CUDA_SUCCESS;
  if (result == CUDA_ERROR_NOT_READY) return {};
  return device_.note_fault(check(result, "cuEventQuery"));
}

Status Event::synchronize() const {
  RMSNORM_TRY(check_waitable());
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  return device_.note_fault(RMSNORM_CUDA(cuEventSynchronize, event_->get()));
}

Status Event::elapsed(const Event& end, float* milliseconds) const {
  for (const Event* event : {this, &end}) {
    RMSNORM_TRY(event->check_waitable());
    if (!event->has_timing_) {
      return {Code::kInvalidState, "Both events must have been made with timing"};
    }
    if (!event->is_recorded_) return {Code::kInvalidState, "Both events must have been recorded"};
  }
  if (&device_ != &end.device_) {
    return {Code::kInvalidValue, "Both events must be of one device"};
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const CUresult result =
      driver().cuEventElapsedTime(milliseconds, event_->get(), end.event_->get());
  if (result == CUDA_ERROR_NOT_READY) {
    return {Code::kInvalidState, "Both events must have passed: synchronize() waits for that"};
  }
  return device_.note_fault(check(result, "cuEventElapsedTime"));
}

}  // namespace rmsnorm::cuda
