#include "graph.h"

#include <algorithm>

namespace rmsnorm::cuda {

Status Graph::end_capture(Queue& queue, std::unique_ptr<Graph>* graph) {
  Device& device = queue.device();
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_unique<Graph>(device);
  made->executable_ = std::make_shared<Executable>();
  Owned<CUgraph, &Driver::cuGraphDestroy> captured;
  CUgraph ended = nullptr;
  const Status outcome = queue.end_capture(&ended, &made->used_);
  captured.reset(ended);
  RMSNORM_TRY(outcome);
  CUgraphExec executable = nullptr;
  RMSNORM_TRY(
      device.note_fault(RMSNORM_CUDA(cuGraphInstantiateWithFlags, &executable, captured.get(), 0)));
  made->executable_->reset(executable);
  *graph = std::move(made);
  return {};
}

Status Graph::launch(const QueuePtr& queue) {
  RMSNORM_TRY(queue->refuse_capture());
  const auto known = std::find_if(launches_.begin(), launches_.end(),
                                  [&](const Launch& launch) { return launch.queue == queue; });
  // Noted before it is enqueued, when an error does no harm yet.
  Launch& launch =
      known != launches_.end() ? *known : launches_.emplace_back(Launch{queue, queue->enqueued()});
  const Status status = queue->enqueue(
      {}, [&] { return RMSNORM_CUDA(cuGraphLaunch, executable_->get(), queue->stream()); });
  launch.enqueued = queue->enqueued();
  return status;
}

void Graph::note_launches() {
  for (const AllocationPtr& allocation : used_) {
    for (const Launch& launch : launches_) allocation->use_on(launch.queue, launch.enqueued);
  }
}

void Graph::close() noexcept {
  if (executable_ == nullptr) return;
  try {
    note_launches();
  } catch (const std::bad_alloc&) {
    // Without room to note the launches they are waited for.
    for (const Launch& launch : launches_) {
      const std::shared_ptr<Mark> mark = launch.queue->mark(launch.enqueued);
      if (mark != nullptr) mark->wait();
    }
  }
  used_.clear();
  launches_.clear();
  device_.destroy(std::move(executable_));  // what runs is finished first
}

}  // namespace rmsnorm::cuda
