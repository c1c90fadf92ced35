// Captures and graphs.
#include <utility>

#include "driver.h"

namespace cudasim {
namespace {

// Queues each node on a stream of its own, which waits for the nodes that it depends on. Otherwise
// the order of nodes is random. Returns the fence at the end of the launch.
Scheduler::FencePtr queue_graph(Scheduler& scheduler, const GraphNodes& nodes,
                                const Scheduler::StreamPtr& stream) {
  const Scheduler::FencePtr begin = scheduler.add_fence(stream);
  std::vector<Scheduler::FencePtr> done;
  for (const GraphNode& node : nodes) {
    const Scheduler::StreamPtr own = scheduler.add_stream(node.engine, false);
    scheduler.wait_for(own, begin);
    for (const std::size_t earlier : node.after) scheduler.wait_for(own, done[earlier]);
    scheduler.run_on_engine(own, node.work());
    done.push_back(scheduler.add_fence(own));
    scheduler.retire_stream(own);
  }
  for (const Scheduler::FencePtr& fence : done) scheduler.wait_for(stream, fence);
  return scheduler.add_fence(stream);
}

bool is_capture_mode(CUstreamCaptureMode mode) {
  return mode == CU_STREAM_CAPTURE_MODE_GLOBAL || mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ||
         mode == CU_STREAM_CAPTURE_MODE_RELAXED;
}

}  // namespace

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  return call_context(Call::cuStreamBeginCapture_v2,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState state = driver.find_stream(stream, current);
                        if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
                        if (!is_capture_mode(mode)) return CUDA_ERROR_INVALID_VALUE;
                        return driver.captures.begin(state, mode);
                      });
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  return call_driver(Call::cuThreadExchangeStreamCaptureMode, [&](Driver&) {
    if (mode == nullptr || !is_capture_mode(*mode)) return CUDA_ERROR_INVALID_VALUE;
    std::swap(*mode, thread_capture_mode());
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  return call_context(Call::cuStreamEndCapture, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *graph = nullptr;
    GraphNodes nodes;
    const CUresult result = driver.captures.end(state, &nodes);
    if (result != CUDA_SUCCESS) return result;
    *graph = driver.graphs.add(std::make_shared<GraphState>(
        GraphState{state.context, std::make_shared<const GraphNodes>(std::move(nodes))}));
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  return call_context(Call::cuStreamIsCapturing, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return driver.captures.status(state, status);
  });
}

CUresult cuGraphInstantiate_v2(CUgraphExec* executable, CUgraph graph, CUgraphNode* error_node,
                               char* log, std::size_t log_bytes) {
  return call_context(Call::cuGraphInstantiate_v2, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<GraphState> state = driver.graphs.find(graph);
    if (executable == nullptr || state == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (error_node != nullptr || log != nullptr || log_bytes != 0) return CUDA_ERROR_NOT_SUPPORTED;
    const auto made = std::make_shared<GraphExecState>();
    made->context = state->context;
    made->nodes = state->nodes;
    *executable = driver.executables.add(made);
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  return call_context(Call::cuGraphLaunch, [&](Driver& driver, const ContextPtr& current) {
    const StreamState where = driver.find_stream(stream, current);
    const std::shared_ptr<GraphExecState> state = driver.executables.find(executable);
    if (where.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (state == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (driver.captures.concern(where)) return driver.captures.add(where, *state->nodes);
    // Launches of one executable graph never overlap, even on different streams.
    const std::lock_guard lock(state->mutex);
    if (state->last != nullptr) driver.scheduler.wait_for(where.stream, state->last);
    state->last = queue_graph(driver.scheduler, *state->nodes, where.stream);
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
  return call_context(
      Call::cuGraphExecDestroy,
      [&](Driver& driver, const ContextPtr& current) {
        if (driver.executables.take(executable) == nullptr) {  // queued launches still run
          driver.unknown_handle(current->device, "cuGraphExecDestroy");
          return CUDA_ERROR_INVALID_VALUE;
        }
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

CUresult cuGraphDestroy(CUgraph graph) {
  return call_context(
      Call::cuGraphDestroy,
      [&](Driver& driver, const ContextPtr& current) {
        if (driver.graphs.take(graph) == nullptr) {
          driver.unknown_handle(current->device, "cuGraphDestroy");
          return CUDA_ERROR_INVALID_VALUE;
        }
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

}  // namespace cudasim
