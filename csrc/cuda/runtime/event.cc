#include "event.h"

namespace rmsnorm::cuda {

bool may_be_captured(CUstream stream) noexcept {
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  return driver().cuStreamIsCapturing(stream, &capture) != CUDA_SUCCESS ||
         capture != CU_STREAM_CAPTURE_STATUS_NONE;
}

Status Fence::make() {
  auto event = std::make_shared<EventHandle>();
  RMSNORM_TRY(device_.note_fault(event->make()));
  event_ = std::move(event);
  return {};
}

void Fence::record(CUstream stream) noexcept {
  const CUresult result = driver().cuEventRecord(event_->get(), stream);
  if (result == CUDA_SUCCESS) state_ = State::kRecorded;
  if (is_fault(result)) state_ = State::kPassed;
}

void Fence::record_or_wait(CUstream stream) noexcept {
  if (is_recorded() || may_be_captured(stream)) return;
  record(stream);
  if (is_recorded()) return;
  const RelaxedCaptures captures;
  update_state(driver().cuStreamSynchronize(stream));
}

void Fence::update_state(CUresult result) noexcept {
  if (result == CUDA_SUCCESS || is_fault(result)) state_ = State::kPassed;
}

bool Fence::query(CUresult (*query_function)(CUevent)) noexcept {
  if (state_ != State::kRecorded) return state_ == State::kPassed;
  DeviceScope scope;
  const RelaxedCaptures captures;
  if (scope.try_enter(device_)) update_state(query_function(event_->get()));
  return state_ == State::kPassed;
}

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
      return {Code::kInvalidState, "Both events must have been created with timing"};
    }
    if (!event->is_recorded_) return {Code::kInvalidState, "Both events must have been recorded"};
  }
  if (&device_ != &end.device_) {
    return {Code::kInvalidValue, "Both events must be on the same device"};
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const CUresult result =
      driver().cuEventElapsedTime(milliseconds, event_->get(), end.event_->get());
  if (result == CUDA_ERROR_NOT_READY) {
    return {Code::kInvalidState, "Both events must have passed; synchronize() waits for an event"};
  }
  return device_.note_fault(check(result, "cuEventElapsedTime"));
}

}  // namespace rmsnorm::cuda
