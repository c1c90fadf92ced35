#include "graph.h"

#include <algorithm>

namespace rmsnorm::cuda {

Status Graph::end_capture(Stream& stream, std::unique_ptr<Graph>* graph) {
  Device& device = stream.device();
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  auto made = std::make_unique<Graph>(device);
  made->executable_ = std::make_shared<Executable>();
  Owned<CUgraph, &Driver::cuGraphDestroy> captured;
  CUgraph ended = nullptr;
  const Status outcome = stream.end_capture(&ended, &made->used_);
  captured.reset(ended);
  RMSNORM_TRY(outcome);
  CUgraphExec executable = nullptr;
  RMSNORM_TRY(
      device.note_fault(RMSNORM_CUDA(cuGraphInstantiateWithFlags, &executable, captured.get(), 0)));
  made->executable_->reset(executable);
  *graph = std::move(made);
  return {};
}

Status Graph::launch(const StreamPtr& stream) {
  RMSNORM_TRY(stream->refuse_capture());
  const auto known = std::find_if(launches_.begin(), launches_.end(),
                                  [&](const Launch& launch) { return launch.stream == stream; });
  // Noted before it is enqueued, when an error does no harm yet.
  Launch& launch = known != launches_.end()
                       ? *known
                       : launches_.emplace_back(Launch{stream, stream->enqueued()});
  const Status status = stream->enqueue(
      {}, [&] { return RMSNORM_CUDA(cuGraphLaunch, executable_->get(), stream->handle()); });
  launch.enqueued = stream->enqueued();
  return status;
}

void Graph::note_launches() {
  for (const AllocationPtr& allocation : used_) {
    for (const Launch& launch : launches_) allocation->use_on(launch.stream, launch.enqueued);
  }
}

void Graph::close() noexcept {
  if (executable_ == nullptr) return;
  try {
    note_launches();
  } catch (const std::bad_alloc&) {
    // Without room to note the launches they are waited for.
    for (const Launch& launch : launches_) {
      const std::shared_ptr<Fence> fence = launch.stream->fence(launch.enqueued);
      if (fence != nullptr) fence->wait();
    }
  }
  used_.clear();
  launches_.clear();
  device_.destroy(std::move(executable_));  // what runs is finished first
}

}  // namespace rmsnorm::cuda
