// Streams and their callbacks.
#include "driver.h"

namespace cudasim {
CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return call_context(Call::cuStreamCreate, [&](Driver& driver, const ContextPtr& context) {
    if (stream == nullptr || (flags & ~CU_STREAM_NON_BLOCKING) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const bool blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    *stream = driver.streams.add(std::make_shared<StreamState>(
        StreamState{context, driver.scheduler.add_stream(context->engine, blocking), blocking}));
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  return call_context(
      Call::cuStreamDestroy_v2,
      [&](Driver& driver, const ContextPtr& current) {
        const std::shared_ptr<StreamState> state = driver.streams.take(stream);
        if (state == nullptr) {
          driver.unknown_handle(current->device, "cuStreamDestroy");
          return CUDA_ERROR_INVALID_HANDLE;
        }
        driver.captures.forget(*state);
        driver.scheduler.retire_stream(state->stream);  // its queued work still runs
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

CUresult cuStreamSynchronize(CUstream stream) {
  return call_context(Call::cuStreamSynchronize,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState state = driver.find_stream(stream, current);
                        if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
                        if (const std::optional<CUresult> refused = driver.captures.refuse(state))
                          return *refused;
                        driver.scheduler.synchronize(state.stream);
                        return state.context->error();
                      });
}

CUresult cuStreamQuery(CUstream stream) {
  return call_context(Call::cuStreamQuery,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState state = driver.find_stream(stream, current);
                        if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
                        if (const std::optional<CUresult> refused = driver.captures.refuse(state))
                          return *refused;
                        if (!driver.scheduler.has_finished(state.stream))
                          return CUDA_ERROR_NOT_READY;
                        return state.context->error();
                      });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  return call_context(Call::cuStreamWaitEvent,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState state = driver.find_stream(stream, current);
                        const std::shared_ptr<EventState> awaited = driver.events.find(event);
                        if (state.context == nullptr || awaited == nullptr)
                          return CUDA_ERROR_INVALID_HANDLE;
                        if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
                        // Wait for the record that is the last one now, not for a later one.
                        const EventRecord record = awaited->last();
                        if (record.captured || driver.captures.concern(state)) {
                          return driver.captures.wait_for(state, record.captured);
                        }
                        if (record.fence != nullptr)
                          driver.scheduler.wait_for(state.stream, record.fence);
                        return CUDA_SUCCESS;
                      });
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* user_data,
                             unsigned flags) {
  return call_context(Call::cuStreamAddCallback,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState state = driver.find_stream(stream, current);
                        if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
                        if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
                        if (const std::optional<CUresult> refused = driver.captures.refuse(state))
                          return *refused;
                        driver.scheduler.run_on_host(
                            state.stream, [context = state.context, stream, callback, user_data] {
                              // The callback runs even after an error, and receives it.
                              callback(stream, context->error(), user_data);
                            });
                        return CUDA_SUCCESS;
                      });
}

}  // namespace cudasim
