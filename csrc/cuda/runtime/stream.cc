#include "stream.h"

#include "allocation.h"

namespace rmsnorm::cuda {
namespace {

// Ends the capture that began on the stream, and drops its graph. Call within a DeviceScope.
CUresult drop_capture(CUstream handle) noexcept {
  CUgraph graph = nullptr;
  const CUresult result = driver().cuStreamEndCapture(handle, &graph);
  if (graph != nullptr) driver().cuGraphDestroy(graph);
  return result;
}

}  // namespace

// No fence can be recorded on a stream that is being captured. Destroying the stream would end the
// capture anyway, also another library's. So this ends the capture before it records the fence.
Stream::OwnStream::~OwnStream() {
  if (last == nullptr || last->is_recorded() || !handle.is_made()) return;
  if (may_be_captured(handle.get())) static_cast<void>(drop_capture(handle.get()));
  last->record_or_wait(handle.get());
}

Status Stream::make(Device& device, StreamPtr* stream) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_shared<Stream>(device);
  made->own_ = std::make_shared<OwnStream>();
  RMSNORM_TRY(device.note_fault(made->own_->handle.make()));
  made->handle_ = made->own_->handle.get();
  made->order_ = std::make_shared<StreamOrder>(device, made->handle_);
  made->is_open_ = true;
  *stream = std::move(made);
  return {};
}

Status Stream::make_callback_stream(Device& device, StreamPtr* stream) {
  RMSNORM_TRY(make(device, stream));
  (*stream)->is_callback_stream_ = true;
  return {};
}

Status Stream::adopt(Device& device, CUstream handle, StreamPtr* stream) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  CUstreamCaptureStatus capture{};
  RMSNORM_TRY(device.note_fault(RMSNORM_CUDA(cuStreamIsCapturing, handle, &capture)));
  auto made = std::make_shared<Stream>(device);
  made->handle_ = handle;
  made->order_ = std::make_shared<StreamOrder>(device, handle);
  made->is_open_ = true;
  made->share();
  *stream = std::move(made);
  return {};
}

// Closes the order: other threads must no longer record fences on the handle, because another
// library may capture it.
CUstream Stream::share() {
  if (!is_shared_) order_->close(enqueued_, fence());
  is_shared_ = true;
  return handle_;
}

Status Stream::begin(DeviceScope& scope, std::initializer_list<const AllocationPtr*> used) {
  RMSNORM_TRY(enter(scope));
  if (capture_ != nullptr) {
    for (const AllocationPtr* allocation : used) {
      if (*allocation != nullptr) capture_->used.insert(*allocation);
    }
    return {};
  }
  RMSNORM_TRY(count_work());
  const StreamPtr self = shared_from_this();
  for (const AllocationPtr* allocation : used) {
    if (*allocation != nullptr) (*allocation)->use_on(self, enqueued_);
  }
  return {};
}

Status Stream::enter(DeviceScope& scope) {
  RMSNORM_TRY(scope.enter(device_));
  return check_usable();
}

Status Stream::enter_running(DeviceScope& scope) {
  RMSNORM_TRY(scope.enter(device_));
  RMSNORM_TRY(refuse_capture());
  return check_usable();
}

// Checks that the stream is open, and that the driver agrees with capture_ on whether it is being
// captured. Call within a DeviceScope.
Status Stream::check_usable() {
  if (!is_open_) return {Code::kDisposed, "The stream has been disposed of"};
  RMSNORM_TRY(end_abandoned_capture());
  if (!is_shared_) return {};
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamIsCapturing, handle_, &capture)));
  const bool is_captured = capture != CU_STREAM_CAPTURE_STATUS_NONE;
  if (is_captured == (capture_ != nullptr)) return {};
  return {Code::kInvalidState, is_captured ? "The stream is being captured by other code"
                                           : "Other code has ended the capture of the stream"};
}

Status Stream::refuse_capture() {
  RMSNORM_TRY(end_abandoned_capture());
  if (capture_ == nullptr) return {};
  return {Code::kInvalidState,
          "The stream is being captured: its work does not run now, so nothing can wait for it"};
}

Status Stream::synchronize() {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuStreamSynchronize, handle_)));
  note_all_passed();
  return {};
}

Status Stream::has_passed(bool* has_passed) {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  const CUresult result = driver().cuStreamQuery(handle_);
  *has_passed = result == CUDA_SUCCESS;
  if (result == CUDA_ERROR_NOT_READY) return {};
  RMSNORM_TRY(device_.note_fault(check(result, "cuStreamQuery")));
  note_all_passed();
  return {};
}

Status Stream::call_back(CUstreamCallback function, void* data) {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  if (is_callback_stream_) return device_.note_fault(add_callback(function, data));
  if (before_callback_ == nullptr) {
    auto made = std::make_shared<EventHandle>();
    RMSNORM_TRY(device_.note_fault(made->make()));
    before_callback_ = std::move(made);
  }
  if (callback_stream_ == nullptr) RMSNORM_TRY(make_callback_stream(device_, &callback_stream_));
  const CUevent event = before_callback_->get();
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuEventRecord, event, handle_)));
  RMSNORM_TRY(
      device_.note_fault(RMSNORM_CUDA(cuStreamWaitEvent, callback_stream_->handle_, event, 0)));
  return device_.note_fault(callback_stream_->add_callback(function, data));
}

// A callback counts as work: waiting for the end of the stream includes waiting for the callback.
Status Stream::add_callback(CUstreamCallback function, void* data) {
  RMSNORM_TRY(count_work());
  return RMSNORM_CUDA(cuStreamAddCallback, handle_, function, data, 0);
}

std::shared_ptr<Fence> Stream::callback_fence() noexcept {
  return callback_stream_ == nullptr ? nullptr : callback_stream_->fence();
}

Status Stream::record(Event& event) {
  DeviceScope scope;
  RMSNORM_TRY(enter(scope));
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuEventRecord, event.event_->get(), handle_)));
  event.is_recorded_ = true;
  event.capture_ = capture_;
  return {};
}

Status Stream::wait_for(const Event& event) {
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
  const bool joins_capture = event.capture_ != nullptr && capture_ == nullptr;
  if (joins_capture) {
    fence_now();
    event.capture_->streams.reserve(event.capture_->streams.size() + 1);
    order_->close(enqueued_, last_fence_);
  }
  const Status waits = RMSNORM_CUDA(cuStreamWaitEvent, handle_, event.event_->get(), 0);
  if (joins_capture && !waits.ok()) reopen_order();
  RMSNORM_TRY(device_.note_fault(waits));
  if (joins_capture) {
    capture_ = event.capture_;
    capture_->streams.push_back(this);
  }
  return {};
}

Status Stream::workspace(std::int64_t bytes, CUdeviceptr* workspace) {
  *workspace = 0;
  if (bytes == 0) return {};
  DeviceScope scope;
  RMSNORM_TRY(enter(scope));
  AllocationPtr& cached = capture_ != nullptr ? captured_workspace_ : workspace_;
  if (cached == nullptr || cached->bytes() < bytes) {
    retire_workspace();
    // Passes no stream. Otherwise the memory would own the stream, which owns the memory.
    RMSNORM_TRY(Allocation::on_device(device_, bytes, nullptr, &cached));
    if (capture_ != nullptr) capture_->used.insert(cached);
  }
  *workspace = cached->pointer();
  return {};
}

void Stream::retire_workspace() {
  if (capture_ != nullptr || workspace_ == nullptr) return;
  workspace_->use_until(fence(enqueued_));
  workspace_.reset();
}

// Loads all kernels first, because a capture may forbid the driver calls that loading needs. An
// error is ignored: the capture may need no kernel, and a launch that needs one reports it.
Status Stream::begin_capture() {
  DeviceScope scope;
  RMSNORM_TRY(enter_running(scope));
  static_cast<void>(device_.load_all_kernels());
  fence_now();
  auto capture = std::make_shared<Capture>();
  capture->streams.push_back(this);
  order_->close(enqueued_, last_fence_);
  const Status begun =
      RMSNORM_CUDA(cuStreamBeginCapture_v2, handle_, CU_STREAM_CAPTURE_MODE_RELAXED);
  if (!begun.ok()) reopen_order();
  RMSNORM_TRY(device_.note_fault(begun));
  capture_ = std::move(capture);
  return {};
}

Status Stream::end_capture(CUgraph* graph, std::set<AllocationPtr>* used) {
  *graph = nullptr;
  if (capture_ == nullptr || !capture_->is_active || capture_->streams.front() != this) {
    return {Code::kInvalidState, "The stream has no capture to end"};
  }
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const CUresult result = driver().cuStreamEndCapture(handle_, graph);
  if (result == CUDA_SUCCESS || !may_be_captured(handle_)) {
    used->swap(capture_->used);
    leave_capture();
  }
  return device_.note_fault(check(result, "cuStreamEndCapture"));
}

void Stream::reopen_order() noexcept {
  if (!is_shared_) order_->open();
}

// Takes all streams out of the capture. Call within a DeviceScope, because memory is released.
void Stream::leave_capture() noexcept {
  const std::shared_ptr<Capture> capture = capture_;
  capture->is_active = false;
  for (Stream* stream : capture->streams) {
    stream->capture_.reset();
    stream->captured_workspace_.reset();
    stream->reopen_order();
  }
  capture->streams.clear();
  capture->used.clear();
}

void Stream::abandon_capture() noexcept {
  if (capture_ == nullptr) return;
  capture_->is_active = false;
  try {
    static_cast<void>(end_abandoned_capture());
  } catch (const std::bad_alloc&) {
    // No memory for the text of an error: the next call reports the error.
  }
}

// Ends the capture that the stream takes part in, if it was abandoned. Errors: kCuda; the capture
// then still exists, and the next call tries again.
Status Stream::end_abandoned_capture() {
  if (capture_ == nullptr || capture_->is_active) return {};
  Stream& first = *capture_->streams.front();
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(first.device_));
  const CUresult result = drop_capture(first.handle_);
  if (result != CUDA_SUCCESS && may_be_captured(first.handle_)) {
    return first.device_.note_fault(check(result, "cuStreamEndCapture"));
  }
  leave_capture();
  return {};
}

// Numbers the work that is about to be enqueued. Makes its fence now, because making it can fail,
// and memory needs the fence as soon as the work is enqueued.
Status Stream::count_work() {
  if (is_unrecorded()) fence_now();
  if (next_fence_ == nullptr) {
    auto fence = std::make_shared<Fence>(device_);
    RMSNORM_TRY(fence->make());
    next_fence_ = std::move(fence);
  }
  ++enqueued_;
  return {};
}

std::shared_ptr<Fence> Stream::fence(std::uint64_t enqueued) noexcept {
  if (order_->has_passed(enqueued)) return nullptr;
  if (fenced_ < enqueued || is_unrecorded()) fence_now();
  return last_fence_;
}

// Fences all work enqueued so far. A fence that cannot be recorded now also covers later work,
// until it is recorded. During a capture no fence is recorded, because it would become part of the
// capture.
void Stream::fence_now() noexcept {
  if (!is_open_ || (fenced_ == enqueued_ && !is_unrecorded())) return;
  if (!is_unrecorded()) last_fence_ = std::move(next_fence_);
  fenced_ = enqueued_;
  if (capture_ != nullptr) return;
  DeviceScope scope;
  if (!scope.try_enter(device_) || (is_shared_ && may_be_captured(handle_))) return;
  last_fence_->record(handle_);
}

void Stream::note_all_passed() {
  if (last_fence_ != nullptr) last_fence_->note_passed();
  last_fence_.reset();
  order_->note_passed(enqueued_);
  fenced_ = enqueued_;
}

// Leaves a capture that the driver fails to end. A capture that began on a stream of our own ends
// when that stream is destroyed. A capture that began on another library's stream goes on, so all
// streams of the capture must ask the driver from now on.
void Stream::leave_endless_capture() noexcept {
  if (capture_->streams.front() == this) {
    for (Stream* stream : capture_->streams) stream->is_shared_ = true;
    leave_capture();
    return;
  }
  std::erase(capture_->streams, this);
  capture_.reset();
  captured_workspace_.reset();
}

void Stream::close() noexcept {
  if (!is_open_) return;
  abandon_capture();
  if (capture_ != nullptr) leave_endless_capture();
  retire_workspace();
  fence_now();
  order_->close(enqueued_, last_fence_);
  if (callback_stream_ != nullptr) callback_stream_->close();
  device_.destroy(std::move(before_callback_));
  is_open_ = false;
  if (own_ != nullptr) {
    own_->last = last_fence_;
    device_.destroy(std::move(own_));
  } else if (is_unrecorded()) {
    DeviceScope scope;
    if (scope.try_enter(device_)) last_fence_->record_or_wait(handle_);
  }
  next_fence_.reset();
}

}  // namespace rmsnorm::cuda
