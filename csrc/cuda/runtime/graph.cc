#include "graph.h"

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
  RMSNORM_TRY(device.note_fault(
      RMSNORM_CUDA(cuGraphInstantiate_v2, &executable, captured.get(), nullptr, nullptr, 0)));
  made->executable_->reset(executable);
  *graph = std::move(made);
  return {};
}

Status Graph::launch(const StreamPtr& stream) {
  RMSNORM_TRY(stream->refuse_capture());
  // Adds the entry before the launch is enqueued: a lack of memory does no harm yet.
  std::uint64_t& launch = launches_.try_emplace(stream, stream->enqueued()).first->second;
  const Status status = stream->enqueue(
      {}, [&] { return RMSNORM_CUDA(cuGraphLaunch, executable_->get(), stream->handle()); });
  launch = stream->enqueued();
  return status;
}

void Graph::close() noexcept {
  if (executable_ == nullptr) return;
  for (const AllocationPtr& allocation : used_) {
    for (const auto& [stream, enqueued] : launches_) allocation->use_on(stream, enqueued);
  }
  used_.clear();
  launches_.clear();
  device_.destroy(std::move(executable_));  // the driver lets running launches finish
}

}  // namespace rmsnorm::cuda
