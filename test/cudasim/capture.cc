#include "capture.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace cudasim {

struct Capture {
  ContextPtr context;
  const Scheduler::Stream* origin = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  std::thread::id thread;  // the thread that began it
  GraphNodes nodes;
  bool valid = true;
  bool ended = false;
};

namespace {

void merge(std::vector<std::size_t>& into, const std::vector<std::size_t>& more) {
  into.insert(into.end(), more.begin(), more.end());
  std::sort(into.begin(), into.end());
  into.erase(std::unique(into.begin(), into.end()), into.end());
}

// Whether each node is in `last` or a dependency of one of them, direct or indirect.
bool all_before(const GraphNodes& nodes, const std::vector<std::size_t>& last) {
  std::vector<bool> before(nodes.size());
  for (const std::size_t node : last) before[node] = true;
  for (std::size_t node = nodes.size(); node-- > 0;) {
    if (!before[node]) return false;
    for (const std::size_t earlier : nodes[node].after) before[earlier] = true;
  }
  return true;
}

}  // namespace

CUstreamCaptureMode& thread_capture_mode() {
  thread_local CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  return mode;
}

const Captures::Member* Captures::find(const StreamState& stream) const {
  const auto found = members_.find(stream.stream.get());
  return found == members_.end() ? nullptr : &found->second;
}

Captures::Member* Captures::find(const StreamState& stream) {
  const auto found = members_.find(stream.stream.get());
  return found == members_.end() ? nullptr : &found->second;
}

bool Captures::blocks_legacy(const Member& member, const StreamState& legacy) const {
  return legacy.is_legacy() && member.blocking && member.context == legacy.context;
}

void Captures::remove(const std::shared_ptr<Capture>& capture) {
  capture->ended = true;
  std::erase_if(members_, [&](const auto& entry) { return entry.second.capture == capture; });
}

CUresult Captures::usable(const StreamState& stream) {
  if (const Member* member = find(stream)) {
    return member->capture->valid ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  CUresult result = CUDA_SUCCESS;
  for (const auto& [other, member] : members_) {
    if (!blocks_legacy(member, stream)) continue;
    member.capture->valid = false;
    result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  return result;
}

CUresult Captures::begin(const StreamState& stream, CUstreamCaptureMode mode) {
  const std::lock_guard lock(mutex_);
  if (stream.is_legacy()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (find(stream) != nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  const auto capture = std::make_shared<Capture>();
  capture->context = stream.context;
  capture->origin = stream.stream.get();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  members_.emplace(stream.stream.get(), Member{capture, stream.context, stream.blocking, {}});
  return CUDA_SUCCESS;
}

CUresult Captures::end(const StreamState& stream, GraphNodes* nodes) {
  const std::lock_guard lock(mutex_);
  const Member* member = find(stream);
  if (member == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  const std::shared_ptr<Capture> capture = member->capture;
  if (capture->origin != stream.stream.get()) {
    capture->valid = false;
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  }
  const bool joined = all_before(capture->nodes, member->last);
  remove(capture);
  if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!joined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  *nodes = std::move(capture->nodes);
  return CUDA_SUCCESS;
}

CUresult Captures::status(const StreamState& stream, CUstreamCaptureStatus* status) const {
  const std::lock_guard lock(mutex_);
  const Member* member = find(stream);
  *status = member == nullptr        ? CU_STREAM_CAPTURE_STATUS_NONE
            : member->capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                     : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  const bool blocked = std::any_of(members_.begin(), members_.end(), [&](const auto& entry) {
    return blocks_legacy(entry.second, stream);
  });
  return blocked ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS;
}

bool Captures::concern(const StreamState& stream) const {
  const std::lock_guard lock(mutex_);
  if (members_.empty()) return false;
  return find(stream) != nullptr ||
         std::any_of(members_.begin(), members_.end(),
                     [&](const auto& entry) { return blocks_legacy(entry.second, stream); });
}

CUresult Captures::add(const StreamState& stream, std::function<Scheduler::Work()> work) {
  return add(stream, {GraphNode{stream.context->engine, std::move(work), {}}});
}

CUresult Captures::add(const StreamState& stream, const GraphNodes& graph) {
  const std::lock_guard lock(mutex_);
  if (const CUresult result = usable(stream); result != CUDA_SUCCESS) return result;
  Member* member = find(stream);
  if (member == nullptr) return CUDA_ERROR_ILLEGAL_STATE;  // another thread just ended it
  GraphNodes& nodes = member->capture->nodes;
  const std::size_t offset = nodes.size();
  const std::vector<std::size_t> before = member->last;
  for (const GraphNode& node : graph) {
    GraphNode added = node;
    for (std::size_t& earlier : added.after) earlier += offset;
    if (added.after.empty()) added.after = before;
    // Later nodes depend on the new node, and through it on the nodes that it depends on.
    std::erase_if(member->last, [&](std::size_t last) {
      return std::find(added.after.begin(), added.after.end(), last) != added.after.end();
    });
    member->last.push_back(nodes.size());
    nodes.push_back(std::move(added));
  }
  return CUDA_SUCCESS;
}

CUresult Captures::record(const StreamState& stream, CapturedPoint* point) {
  const std::lock_guard lock(mutex_);
  if (const CUresult result = usable(stream); result != CUDA_SUCCESS) return result;
  const Member* member = find(stream);
  if (member == nullptr) return CUDA_ERROR_ILLEGAL_STATE;  // another thread just ended it
  *point = {member->capture, member->last};
  return CUDA_SUCCESS;
}

CUresult Captures::wait_for(const StreamState& stream, const std::optional<CapturedPoint>& point) {
  const std::lock_guard lock(mutex_);
  if (const CUresult result = usable(stream); result != CUDA_SUCCESS) return result;
  Member* member = find(stream);
  const auto invalid = [&](CUresult result) {
    if (member != nullptr) member->capture->valid = false;
    if (point) point->capture->valid = false;
    return result;
  };
  if (!point) return invalid(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  if (point->capture->ended) return invalid(CUDA_ERROR_CAPTURED_EVENT);
  if (!point->capture->valid) return invalid(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  if (stream.is_legacy()) return invalid(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (member == nullptr) {
    members_.emplace(stream.stream.get(),
                     Member{point->capture, stream.context, stream.blocking, point->after});
    return CUDA_SUCCESS;
  }
  if (member->capture != point->capture) return invalid(CUDA_ERROR_STREAM_CAPTURE_MERGE);
  merge(member->last, point->after);
  return CUDA_SUCCESS;
}

std::optional<CUresult> Captures::refuse(const StreamState& stream) {
  const std::lock_guard lock(mutex_);
  if (const Member* member = find(stream)) {
    member->capture->valid = false;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  const CUresult result = usable(stream);
  return result == CUDA_SUCCESS ? std::nullopt : std::optional(result);
}

CUresult Captures::refuse(const CapturedPoint& point) {
  const std::lock_guard lock(mutex_);
  point.capture->valid = false;
  return CUDA_ERROR_CAPTURED_EVENT;
}

CUresult Captures::refuse_unsafe() {
  const CUstreamCaptureMode allowed = thread_capture_mode();
  if (allowed == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  const std::lock_guard lock(mutex_);
  CUresult result = CUDA_SUCCESS;
  for (const auto& [stream, member] : members_) {
    Capture& capture = *member.capture;
    const bool is_own = capture.thread == std::this_thread::get_id() &&
                        capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    const bool is_of_others =
        allowed == CU_STREAM_CAPTURE_MODE_GLOBAL && capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!is_own && !is_of_others) continue;
    capture.valid = false;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

void Captures::forget(const StreamState& stream) {
  const std::lock_guard lock(mutex_);
  const Member* member = find(stream);
  if (member == nullptr) return;
  const std::shared_ptr<Capture> capture = member->capture;
  capture->valid = false;
  if (capture->origin == stream.stream.get()) {
    remove(capture);
  } else {
    members_.erase(stream.stream.get());
  }
}

std::size_t Captures::drop_all_of(const Context& context) {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Capture>> dropped;
  for (const auto& [stream, member] : members_) {
    const bool begun_here = member.capture->origin == stream;
    if (begun_here && member.context.get() == &context) dropped.push_back(member.capture);
  }
  for (const std::shared_ptr<Capture>& capture : dropped) remove(capture);
  return dropped.size();
}

}  // namespace cudasim
