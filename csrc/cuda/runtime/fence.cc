#include "fence.h"

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

void Fence::settle(CUstream stream) noexcept {
  if (is_recorded() || may_be_captured(stream)) return;
  record(stream);
  if (!is_recorded()) take(driver().cuStreamSynchronize(stream));
}

void Fence::take(CUresult result) noexcept {
  if (result == CUDA_SUCCESS || is_fault(result)) state_ = State::kPassed;
}

bool Fence::has_passed() noexcept {
  if (state_ != State::kRecorded) return state_ == State::kPassed;
  DeviceScope scope;
  if (scope.try_enter(device_)) take(driver().cuEventQuery(event_->get()));
  return state_ == State::kPassed;
}

bool Fence::wait() noexcept {
  if (state_ != State::kRecorded) return state_ == State::kPassed;
  DeviceScope scope;
  if (scope.try_enter(device_)) take(driver().cuEventSynchronize(event_->get()));
  return state_ == State::kPassed;
}

}  // namespace rmsnorm::cuda
