// Streams that capture: work queued on them does not run but becomes a graph.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "context.h"
#include "scheduler.h"

namespace cudasim {

struct StreamState {
  ContextPtr context;  // null: no such stream
  Scheduler::StreamPtr stream;
  bool blocking = true;

  bool is_legacy() const { return stream == context->legacy_stream; }
};

// The work of one captured call, which each launch of the graph runs.
struct GraphNode {
  Scheduler::EnginePtr engine;
  std::function<Scheduler::Work()> work;  // makes the work for one launch
  std::vector<std::size_t> after;         // nodes it depends on: indices less than its own
};
using GraphNodes = std::vector<GraphNode>;

struct Capture;

// The calling thread's mode, which decides which captures forbid it unsafe calls.
// cuThreadExchangeStreamCaptureMode exchanges it.
CUstreamCaptureMode& thread_capture_mode();

// The point at which an event was recorded in a capture.
struct CapturedPoint {
  std::shared_ptr<Capture> capture;
  std::vector<std::size_t> after;
};

// All captures that have begun and not ended. As with a real driver, a call that a capture does not
// allow invalidates it; it can then only be ended.
class Captures {
 public:
  CUresult begin(const StreamState& stream, CUstreamCaptureMode mode);
  // Ends the capture that began on the stream. Sets `nodes` if all forked work was joined.
  CUresult end(const StreamState& stream, GraphNodes* nodes);
  CUresult status(const StreamState& stream, CUstreamCaptureStatus* status) const;

  // Whether captures affect calls on the stream: the stream captures, or it is the legacy stream,
  // which may not be used while a blocking stream of its context captures.
  bool concern(const StreamState& stream) const;

  // Only for streams for which concern() is true.
  CUresult add(const StreamState& stream, std::function<Scheduler::Work()> work);
  CUresult add(const StreamState& stream, const GraphNodes& graph);
  CUresult record(const StreamState& stream, CapturedPoint* point);

  // Makes the stream's next node depend on the point; any stream joins the point's capture. Without
  // a point, the event was recorded outside a capture, which is an error.
  CUresult wait_for(const StreamState& stream, const std::optional<CapturedPoint>& point);

  // The error of a call that no capture allows; no value if no capture affects the stream.
  std::optional<CUresult> refuse(const StreamState& stream);
  CUresult refuse(const CapturedPoint& point);

  // The error of a call that is unsafe during a capture, such as an allocation. Captures of this
  // thread, and global captures of any thread, forbid it unless this thread's mode allows it.
  CUresult refuse_unsafe();

  // For a stream that is destroyed: invalidates its capture, and ends it if it began on the stream.
  void forget(const StreamState& stream);
  // Ends the captures that began in the context. Returns their number.
  std::size_t drop_all_of(const Context& context);

 private:
  struct Member {
    std::shared_ptr<Capture> capture;
    ContextPtr context;
    bool blocking = false;
    std::vector<std::size_t> last;  // the nodes that the stream's next node depends on
  };

  const Member* find(const StreamState& stream) const;
  Member* find(const StreamState& stream);
  bool blocks_legacy(const Member& member, const StreamState& legacy) const;
  // CUDA_SUCCESS if the stream may be used now. Otherwise the error, and the affected captures
  // become invalid.
  CUresult usable(const StreamState& stream);
  void remove(const std::shared_ptr<Capture>& capture);

  mutable std::mutex mutex_;
  std::map<const Scheduler::Stream*, Member> members_;
};

}  // namespace cudasim
