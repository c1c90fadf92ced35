// Captures and graphs, which are not simulated yet.
#include "driver.h"

namespace cudasim {

CUresult cuStreamBeginCapture_v2(CUstream, CUstreamCaptureMode) {
  return call_context(Call::cuStreamBeginCapture_v2,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_NOT_SUPPORTED; });
}

CUresult cuStreamEndCapture(CUstream, CUgraph*) {
  return call_context(Call::cuStreamEndCapture,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_ILLEGAL_STATE; });
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  return call_context(Call::cuStreamIsCapturing, [&](Driver& driver, const ContextPtr& current) {
    if (driver.find_stream(stream, current).context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec*, CUgraph, unsigned long long) {
  return call_context(Call::cuGraphInstantiateWithFlags,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_INVALID_VALUE; });
}

CUresult cuGraphLaunch(CUgraphExec, CUstream) {
  return call_context(Call::cuGraphLaunch,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_INVALID_VALUE; });
}

CUresult cuGraphExecDestroy(CUgraphExec) {
  return call_context(Call::cuGraphExecDestroy,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_INVALID_VALUE; });
}

CUresult cuGraphDestroy(CUgraph) {
  return call_context(Call::cuGraphDestroy,
                      [&](Driver&, const ContextPtr&) { return CUDA_ERROR_INVALID_VALUE; });
}

}  // namespace cudasim
