#include "queue.h"

#include "allocation.h"
#include "recorded_event.h"

namespace rmsnorm::cuda {

Mark::Mark(Device& device, CUstream stream) : device_(device) {
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  driver().cuStreamIsCapturing(stream, &capture);
  if (capture != CU_STREAM_CAPTURE_STATUS_NONE) return;  // it would become a part of the graph
  if (event_.make().ok() && driver().cuEventRecord(event_.get(), stream) != CUDA_SUCCESS) {
    event_.reset();
  }
}

Mark::~Mark() {
  DeviceScope scope;
  if (event_.is_made() && scope.enter(device_).ok()) event_.reset();
}

bool Mark::has_passed() {
  if (has_passed_) return true;
  DeviceScope scope;
  if (!event_.is_made() || !scope.enter(device_).ok()) return false;
  const CUresult result = driver().cuEventQuery(event_.get());
  if (result == CUDA_SUCCESS || is_fault(result)) has_passed_ = true;
  return has_passed_;
}

void Mark::wait() {
  if (has_passed_) return;
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  if (!event_.is_made() || driver().cuEventSynchronize(event_.get()) != CUDA_SUCCESS) {
    driver().cuCtxSynchronize();
  }
  has_passed_ = true;
}

Status Queue::make(Device& device, QueuePtr* queue) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_shared<Queue>(device);
  RMSNORM_TRY(device.note_fault(made->owned_.make()));
  made->stream_ = made->owned_.get();
  made->is_open_ = true;
  *queue = std::move(made);
  return {};
}

Status Queue::adopt(Device& device, CUstream stream, QueuePtr* queue) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  RMSNORM_TRY(device.note_fault(RMSNORM_CUDA(cuStreamIsCapturing, stream, &capture)));
  auto made = std::make_shared<Queue>(device);
  made->stream_ = stream;
  made->is_open_ = true;
  made->is_foreign_ = true;
  *queue = std::move(made);
  return {};
}

Status Queue::begin(std::initializer_list<const AllocationPtr*> used) {
  if (capture_ != nullptr) {
    for (const AllocationPtr* allocation : used) {
      if (*allocation != nullptr) capture_->kept.insert(*allocation);
    }
    return {};
  }
  RMSNORM_TRY(refuse_foreign_capture());
  ++enqueued_;
  for (const AllocationPtr* allocation : used) {
    if (*allocation != nullptr) (*allocation)->use_on(shared_from_this(), enqueued_);
  }
  return {};
}

Status Queue::refuse_foreign_capture() const {
  if (!is_foreign_) return {};
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamIsCapturing, stream_, &capture)));
  if (capture == CU_STREAM_CAPTURE_STATUS_NONE) return {};
  return {Code::kInvalidState, "The stream is being captured by somebody else"};
}

Status Queue::refuse_capture() const {
  if (capture_ == nullptr) return {};
  return {Code::kInvalidState,
          "The stream is being captured: what is enqueued does not run, and can not be waited for"};
}

Status Queue::check_runs() const {
  RMSNORM_TRY(refuse_capture());
  return refuse_foreign_capture();
}

Status Queue::synchronize() {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(check_runs());
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamSynchronize, stream_)));
  note_all_passed();
  return {};
}

Status Queue::has_passed(bool* has_passed) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(check_runs());
  const CUresult result = driver().cuStreamQuery(stream_);
  *has_passed = result == CUDA_SUCCESS;
  if (result == CUDA_ERROR_NOT_READY) return {};
  RMSNORM_TRY(device_.note_fault(check(result, "cuStreamQuery")));
  note_all_passed();
  return {};
}

Status Queue::call_back(CUstreamCallback function, void* data) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(check_runs());
  return device_.note_fault(RMSNORM_CUDA(cuStreamAddCallback, stream_, function, data, 0));
}

Status Queue::record(RecordedEvent& event) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  if (capture_ == nullptr) RMSNORM_TRY(refuse_foreign_capture());
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuEventRecord, event.event_.get(), stream_)));
  event.is_recorded_ = true;
  event.capture_ = capture_;
  return {};
}

Status Queue::wait_for(const RecordedEvent& event) {
  if (!event.is_recorded_) return {};
  if (event.capture_ != capture_ && event.capture_ != nullptr) {
    if (!event.capture_->is_active) {
      return {Code::kInvalidState, "The event was recorded in a capture that has ended"};
    }
    if (capture_ != nullptr) {
      return {Code::kInvalidState, "The event was recorded in the capture of another graph"};
    }
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  if (capture_ == nullptr) {
    RMSNORM_TRY(refuse_foreign_capture());
    if (event.capture_ != nullptr) mark_now();
  }
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamWaitEvent, stream_, event.event_.get(), 0)));
  if (event.capture_ != nullptr && capture_ == nullptr) {
    capture_ = event.capture_;
    capture_->queues.push_back(this);
  }
  return {};
}

Status Queue::workspace(std::int64_t bytes, CUdeviceptr* workspace) {
  *workspace = 0;
  if (bytes == 0) return {};
  AllocationPtr& kept = capture_ != nullptr ? captured_workspace_ : workspace_;
  if (kept == nullptr || kept->bytes() < bytes) {
    retire_workspace();
    RMSNORM_TRY(Allocation::on_device(device_, bytes, &kept));
    if (capture_ != nullptr) capture_->kept.insert(kept);
  }
  *workspace = kept->pointer();
  return {};
}

void Queue::retire_workspace() {
  if (capture_ != nullptr || workspace_ == nullptr) return;
  workspace_->use_until(mark(enqueued_));
  workspace_.reset();
}

Status Queue::begin_capture() {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(check_runs());
  mark_now();
  RMSNORM_TRY(device_.note_fault(
      RMSNORM_CUDA(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_RELAXED)));
  capture_ = std::make_shared<Capture>();
  capture_->queues.push_back(this);
  return {};
}

Status Queue::end_capture(CUgraph* graph, std::set<AllocationPtr>* kept) {
  *graph = nullptr;
  if (capture_ == nullptr || capture_->queues.front() != this) {
    return {Code::kInvalidState, "The stream has begun no capture that could end"};
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const Status status = RMSNORM_CUDA(cuStreamEndCapture, stream_, graph);
  const std::shared_ptr<Capture> capture = capture_;
  capture->is_active = false;
  for (Queue* queue : capture->queues) {
    queue->capture_.reset();
    queue->captured_workspace_.reset();
  }
  capture->queues.clear();
  kept->swap(capture->kept);
  return device_.note_fault(status);
}

void Queue::abandon_capture() {
  if (capture_ == nullptr) return;
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  CUgraph graph = nullptr;
  std::set<AllocationPtr> kept;
  static_cast<void>(capture_->queues.front()->end_capture(&graph, &kept));
  if (graph != nullptr) driver().cuGraphDestroy(graph);
}

std::shared_ptr<Mark> Queue::mark(std::uint64_t enqueued) {
  if (marked_ < enqueued) mark_now();
  return last_mark_;
}

// Never during a capture, before which everything was marked.
void Queue::mark_now() {
  if (!is_open_ || marked_ == enqueued_) return;
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  last_mark_ = std::make_shared<Mark>(device_, stream_);
  marked_ = enqueued_;
}

void Queue::note_all_passed() {
  last_mark_.reset();
  marked_ = enqueued_;
}

void Queue::close() {
  if (!is_open_) return;
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  abandon_capture();
  retire_workspace();
  mark_now();
  is_open_ = false;
  owned_.reset();
}

}  // namespace rmsnorm::cuda
