// Streams that capture: what is queued on them is not to run, but becomes a graph.
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

// What one call queued, for each launch of the graph to run.
struct GraphNode {
  Scheduler::EnginePtr engine;
  std::function<Scheduler::Work()> work;  // gives one launch's piece of it
  std::vector<std::size_t> after;         // indices of nodes, all before this one's own
};
using GraphNodes = std::vector<GraphNode>;

struct Capture;

// Which captures keep the calling thread from unsafe calls: what
// cuThreadExchangeStreamCaptureMode exchanges.
CUstreamCaptureMode& thread_capture_mode();

// Where an event was recorded in a capture.
struct CapturedPoint {
  std::shared_ptr<Capture> capture;
  std::vector<std::size_t> after;
};

// All captures that have begun and not ended. A call that a capture does not allow invalidates it,
// as on a GPU: it can only be ended then.
class Captures {
 public:
  CUresult begin(const StreamState& stream, CUstreamCaptureMode mode);
  // Of the stream that it began on. Gives nodes if all work that was forked off has been joined.
  CUresult end(const StreamState& stream, GraphNodes* nodes);
  CUresult status(const StreamState& stream, CUstreamCaptureStatus* status) const;

  // Whether calls on the stream are not the usual ones: it captures, or is the legacy stream, which
  // nobody may use while a blocking stream of its context captures.
  bool concern(const StreamState& stream) const;

  // The next three are for streams that captures concern.
  CUresult add(const StreamState& stream, std::function<Scheduler::Work()> work);
  CUresult add(const StreamState& stream, const GraphNodes& graph);
  CUresult record(const StreamState& stream, CapturedPoint* point);

  // The stream's next node comes after the point, and the stream, whichever it is, takes part in
  // its capture from now on. Without a point: after work that no capture knows, which is not
  // allowed in one.
  CUresult wait_for(const StreamState& stream, const std::optional<CapturedPoint>& point);

  // The error of a call that no capture allows; no value if none concerns the stream.
  std::optional<CUresult> refuse(const StreamState& stream);
  CUresult refuse(const CapturedPoint& point);

  // The error of a call that is unsafe beside a capture, such as an allocation: captures of this
  // thread, and global ones of any thread, forbid it unless this thread's mode allows it.
  CUresult refuse_unsafe();

  // For a stream that is destroyed; its capture cannot be completed.
  void forget(const StreamState& stream);
  // Ends those that began in the context; gives their number.
  std::size_t drop_all_of(const Context& context);

 private:
  struct Member {
    std::shared_ptr<Capture> capture;
    ContextPtr context;
    bool blocking = false;
    std::vector<std::size_t> last;  // the nodes that the stream's next one comes after
  };

  const Member* find(const StreamState& stream) const;
  Member* find(const StreamState& stream);
  bool blocks_legacy(const Member& member, const StreamState& legacy) const;
  // Whether the stream may be used now, else the error, the captures concerned being invalid.
  CUresult usable(const StreamState& stream);
  void remove(const std::shared_ptr<Capture>& capture);

  mutable std::mutex mutex_;
  std::map<const Scheduler::Stream*, Member> members_;
};

}  // namespace cudasim
