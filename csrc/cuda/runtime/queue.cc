#include "queue.h"

#include "allocation.h"
#include "recorded_event.h"

namespace rmsnorm::cuda {
namespace {

// Ends the capture that began on the stream, and drops its graph. Within a DeviceScope.
CUresult drop_capture(CUstream stream) noexcept {
  CUgraph graph = nullptr;
  const CUresult result = driver().cuStreamEndCapture(stream, &graph);
  if (graph != nullptr) driver().cuGraphDestroy(graph);
  return result;
}

}  // namespace

// A capture of somebody else's ends with the stream anyway. Ended before, it leaves room for the
// mark.
Queue::OwnStream::~OwnStream() {
  if (last == nullptr || last->is_recorded() || !stream.is_made()) return;
  if (may_be_captured(stream.get())) static_cast<void>(drop_capture(stream.get()));
  last->settle(stream.get());
}

Status Queue::make(Device& device, QueuePtr* queue) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_shared<Queue>(device);
  made->own_ = std::make_shared<OwnStream>();
  RMSNORM_TRY(device.note_fault(made->own_->stream.make()));
  made->stream_ = made->own_->stream.get();
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
  made->is_shared_ = true;
  *queue = std::move(made);
  return {};
}

Status Queue::begin(DeviceScope& scope, std::initializer_list<const AllocationPtr*> used) {
  RMSNORM_TRY(enter(scope));
  if (capture_ != nullptr) {
    for (const AllocationPtr* allocation : used) {
      if (*allocation != nullptr) capture_->used.insert(*allocation);
    }
    return {};
  }
  RMSNORM_TRY(prepare_mark());
  ++enqueued_;
  for (const AllocationPtr* allocation : used) {
    if (*allocation != nullptr) (*allocation)->use_on(shared_from_this(), enqueued_);
  }
  return {};
}

Status Queue::enter(DeviceScope& scope) {
  RMSNORM_TRY(scope.enter(device_));
  return check_usable();
}

Status Queue::enter_running(DeviceScope& scope) {
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(refuse_capture());
  return check_usable();
}

// Whether calls on the stream do what this queue takes them to do. Within a DeviceScope.
Status Queue::check_usable() {
  if (!is_open_) return {Code::kDisposed, "The stream has been disposed of"};
  RMSNORM_TRY(end_abandoned());
  if (!is_shared_) return {};
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamIsCapturing, stream_, &capture)));
  const bool is_captured = capture != CU_STREAM_CAPTURE_STATUS_NONE;
  if (is_captured == (capture_ != nullptr)) return {};
  return {Code::kInvalidState, is_captured ? "The stream is being captured by somebody else"
                                           : "Somebody else has ended the capture of the stream"};
}

Status Queue::refuse_capture() {
  RMSNORM_TRY(end_abandoned());
  if (capture_ == nullptr) return {};
  return {Code::kInvalidState,
          "The stream is being captured: what is enqueued does not run, and cannot be waited for"};
}

Status Queue::synchronize() {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamSynchronize, stream_)));
  note_all_passed();
  return {};
}

Status Queue::has_passed(bool* has_passed) {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  const CUresult result = driver().cuStreamQuery(stream_);
  *has_passed = result == CUDA_SUCCESS;
  if (result == CUDA_ERROR_NOT_READY) return {};
  RMSNORM_TRY(device_.note_fault(check(result, "cuStreamQuery")));
  note_all_passed();
  return {};
}

// Counted like work, so that whoever waits for the end of the queue waits for the callback, too.
Status Queue::call_back(CUstreamCallback function, void* data) {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  RMSNORM_TRY(prepare_mark());
  ++enqueued_;
  return device_.note_fault(RMSNORM_CUDA(cuStreamAddCallback, stream_, function, data, 0));
}

Status Queue::record(RecordedEvent& event) {
  DeviceScope scope;
  RMSNORM_TRY(enter(scope));
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuEventRecord, event.event_->get(), stream_)));
  event.is_recorded_ = true;
  event.capture_ = capture_;
  return {};
}

Status Queue::wait_for(const RecordedEvent& event) {
  if (!event.is_recorded_) return {};
  DeviceScope scope;
  RMSNORM_TRY(enter(scope));
  if (event.capture_ != capture_ && event.capture_ != nullptr) {
    if (!event.capture_->is_active) {
      return {Code::kInvalidState, "The event was recorded in a capture that has ended"};
    }
    if (capture_ != nullptr) {
      return {Code::kInvalidState, "The event was recorded in the capture of another graph"};
    }
  }
  const bool is_drawn_in = event.capture_ != nullptr && capture_ == nullptr;
  if (is_drawn_in) {
    mark_now();
    event.capture_->queues.reserve(event.capture_->queues.size() + 1);
  }
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamWaitEvent, stream_, event.event_->get(), 0)));
  if (is_drawn_in) {
    capture_ = event.capture_;
    capture_->queues.push_back(this);
  }
  return {};
}

Status Queue::workspace(std::int64_t bytes, CUdeviceptr* workspace) {
  *workspace = 0;
  if (bytes == 0) return {};
  DeviceScope scope;
  RMSNORM_TRY(enter(scope));
  AllocationPtr& cached = capture_ != nullptr ? captured_workspace_ : workspace_;
  if (cached == nullptr || cached->bytes() < bytes) {
    retire_workspace();
    RMSNORM_TRY(Allocation::on_device(device_, bytes, &cached));
    if (capture_ != nullptr) capture_->used.insert(cached);
  }
  *workspace = cached->pointer();
  return {};
}

void Queue::retire_workspace() {
  if (capture_ != nullptr || workspace_ == nullptr) return;
  workspace_->use_until(mark(enqueued_));
  workspace_.reset();
}

Status Queue::begin_capture() {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  mark_now();
  auto capture = std::make_shared<Capture>();
  capture->queues.push_back(this);
  RMSNORM_TRY(device_.note_fault(
      RMSNORM_CUDA(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_RELAXED)));
  capture_ = std::move(capture);
  return {};
}

Status Queue::end_capture(CUgraph* graph, std::set<AllocationPtr>* used) {
  *graph = nullptr;
  if (capture_ == nullptr || !capture_->is_active || capture_->queues.front() != this) {
    return {Code::kInvalidState, "The stream has begun no capture that could end"};
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const CUresult result = driver().cuStreamEndCapture(stream_, graph);
  if (result == CUDA_SUCCESS || !may_be_captured(stream_)) {
    used->swap(capture_->used);
    leave_capture();
  }
  return device_.note_fault(check(result, "cuStreamEndCapture"));
}

// For all that take part. Within a DeviceScope, since memory is released.
void Queue::leave_capture() noexcept {
  const std::shared_ptr<Capture> capture = capture_;
  capture->is_active = false;
  for (Queue* queue : capture->queues) {
    queue->capture_.reset();
    queue->captured_workspace_.reset();
  }
  capture->queues.clear();
  capture->used.clear();
}

void Queue::abandon_capture() noexcept {
  if (capture_ == nullptr) return;
  capture_->is_active = false;
  try {
    static_cast<void>(end_abandoned());
  } catch (const std::bad_alloc&) {
    // For the text of an error: the next call tells.
  }
}

// Errors: kCuda; the capture is still there then, and the next call tries again.
Status Queue::end_abandoned() {
  if (capture_ == nullptr || capture_->is_active) return {};
  Queue& first = *capture_->queues.front();
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(first.device_));
  const CUresult result = drop_capture(first.stream_);
  if (result != CUDA_SUCCESS && may_be_captured(first.stream_)) {
    return first.device_.note_fault(check(result, "cuStreamEndCapture"));
  }
  leave_capture();
  return {};
}

// There before anything is enqueued: once it runs, memory depends on its mark.
Status Queue::prepare_mark() {
  if (is_unrecorded()) mark_now();
  if (next_mark_ != nullptr) return {};
  auto mark = std::make_shared<Mark>(device_);
  RMSNORM_TRY(mark->make());
  next_mark_ = std::move(mark);
  return {};
}

std::shared_ptr<Mark> Queue::mark(std::uint64_t enqueued) noexcept {
  if (marked_ < enqueued || is_unrecorded()) mark_now();
  return last_mark_;
}

// A mark that could not be recorded covers what comes after it, too, until it can be. That is so
// during a capture, of which it would become a part.
void Queue::mark_now() noexcept {
  if (!is_open_ || (marked_ == enqueued_ && !is_unrecorded())) return;
  if (!is_unrecorded()) last_mark_ = std::move(next_mark_);
  marked_ = enqueued_;
  if (capture_ != nullptr) return;
  DeviceScope scope;
  if (!scope.try_enter(device_) || (is_shared_ && may_be_captured(stream_))) return;
  last_mark_->record(stream_);
}

void Queue::note_all_passed() {
  if (last_mark_ != nullptr) last_mark_->note_passed();
  last_mark_.reset();
  marked_ = enqueued_;
}

// The driver fails to end the capture. It ends with a stream of our own; with somebody else's it
// goes on, so that the queues that take part must ask the driver from now on.
void Queue::leave_endless_capture() noexcept {
  if (capture_->queues.front() == this) {
    for (Queue* queue : capture_->queues) queue->is_shared_ = true;
    leave_capture();
    return;
  }
  std::erase(capture_->queues, this);
  capture_.reset();
  captured_workspace_.reset();
}

void Queue::close() noexcept {
  if (!is_open_) return;
  abandon_capture();
  if (capture_ != nullptr) leave_endless_capture();
  retire_workspace();
  mark_now();
  is_open_ = false;
  if (own_ != nullptr) {
    own_->last = last_mark_;
    device_.destroy(std::move(own_));
  } else if (is_unrecorded()) {
    DeviceScope scope;
    if (scope.try_enter(device_)) last_mark_->settle(stream_);
  }
  next_mark_.reset();
}

}  // namespace rmsnorm::cuda
