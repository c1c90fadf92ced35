// A graph: captured work that one call launches. It can be launched any number of times.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "allocation.h"
#include "stream.h"

namespace rmsnorm::cuda {

class Graph {
 public:
  // Ends the capture that the stream began, and makes a graph of the captured work. Errors: as
  // Stream::end_capture.
  static Status end_capture(Stream& stream, std::unique_ptr<Graph>* graph);

  explicit Graph(Device& device) : device_(device) {}
  ~Graph() { close(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Device& device() const { return device_; }

  // Enqueues the whole graph. Launches of one graph run one after another, even on different
  // streams. Errors: kInvalidState during a capture; kCuda.
  Status launch(const StreamPtr& stream);

  // Releases the graph. Launches already enqueued still run, and the memory that they use stays
  // until they have run.
  void close() noexcept;

 private:
  using Executable = Owned<CUgraphExec, &Driver::cuGraphExecDestroy>;

  Device& device_;
  std::shared_ptr<Executable> executable_;       // null once closed
  std::set<AllocationPtr> used_;                 // by the graph's work
  std::map<StreamPtr, std::uint64_t> launches_;  // the work number of each stream's last launch
};

}  // namespace rmsnorm::cuda
