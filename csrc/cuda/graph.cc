#include "graph.h"

#include <algorithm>

namespace rmsnorm::cuda {

Status Graph::end_capture(Queue& queue, std::unique_ptr<Graph>* graph) {
  auto made = std::make_unique<Graph>(queue.device());
  CUgraph captured = nullptr;
  const Status ended = queue.end_capture(&captured, &made->kept_);
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(queue.device()));
  Status instantiated;
  if (ended.ok()) {
    instantiated = RMSNORM_CUDA(cuGraphInstantiateWithFlags, &made->executable_, captured, 0);
  }
  if (captured != nullptr) driver().cuGraphDestroy(captured);
  RMSNORM_TRY(ended);
  RMSNORM_TRY(queue.device().note_fault(instantiated));
  *graph = std::move(made);
  return {};
}

Status Graph::launch(const QueuePtr& queue) {
  RMSNORM_TRY(queue->refuse_capture());
  RMSNORM_TRY(queue->enqueue(
      {}, [&] { return RMSNORM_CUDA(cuGraphLaunch, executable_, queue->stream()); }));
  const auto last = std::find_if(launches_.begin(), launches_.end(),
                                 [&](const Launch& launch) { return launch.queue == queue; });
  if (last == launches_.end()) {
    launches_.push_back({queue, queue->enqueued()});
  } else {
    last->enqueued = queue->enqueued();
  }
  return {};
}

void Graph::close() {
  if (executable_ == nullptr) return;
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  for (const AllocationPtr& allocation : kept_) {
    for (const Launch& launch : launches_) allocation->use_on(launch.queue, launch.enqueued);
  }
  kept_.clear();
  launches_.clear();
  driver().cuGraphExecDestroy(executable_);  // what runs is finished first
  executable_ = nullptr;
}

}  // namespace rmsnorm::cuda
