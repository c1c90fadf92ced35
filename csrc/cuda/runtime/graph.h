// Work that was captured, to be launched as a whole again and again.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "allocation.h"
#include "queue.h"

namespace rmsnorm::cuda {

class Graph {
 public:
  // Ends the capture that the queue began, and makes a graph of it. Errors: as Queue::end_capture.
  static Status end_capture(Queue& queue, std::unique_ptr<Graph>* graph);

  explicit Graph(Device& device) : device_(device) {}
  ~Graph() { close(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Device& device() const { return device_; }

  // Enqueues all of it. Launches of one graph run one after another, whatever their queues. Errors:
  // kInvalidState during a capture; kCuda.
  Status launch(const QueuePtr& queue);

  // Releases it and the memory it uses once its launches have run.
  void close() noexcept;

 private:
  struct Launch {
    QueuePtr queue;
    std::uint64_t enqueued;
  };

  using Executable = Owned<CUgraphExec, &Driver::cuGraphExecDestroy>;

  void note_launches();

  Device& device_;
  std::shared_ptr<Executable> executable_;  // null once closed
  std::set<AllocationPtr> used_;
  std::vector<Launch> launches_;  // the last of each queue
};

}  // namespace rmsnorm::cuda
