// Events.
#include "driver.h"

namespace cudasim {

CUresult cuEventCreate(CUevent* event, unsigned flags) {
  return call_context(Call::cuEventCreate, [&](Driver& driver, const ContextPtr& context) {
    if (event == nullptr || (flags & ~CU_EVENT_DISABLE_TIMING) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const auto state = std::make_shared<EventState>();
    state->context = context;
    state->timing = (flags & CU_EVENT_DISABLE_TIMING) == 0;
    *event = driver.events.add(state);
    return CUDA_SUCCESS;
  });
}

CUresult cuEventDestroy_v2(CUevent event) {
  return call_context(
      Call::cuEventDestroy_v2,
      [&](Driver& driver, const ContextPtr& current) {
        if (driver.events.take(event) == nullptr) {  // streams that wait for the event still do
          driver.unknown_handle(current->device, "cuEventDestroy");
          return CUDA_ERROR_INVALID_HANDLE;
        }
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  return call_context(Call::cuEventRecord, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    const std::shared_ptr<EventState> recorded = driver.events.find(event);
    if (state.context == nullptr || recorded == nullptr || recorded->context != state.context) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    EventRecord record;
    if (driver.captures.concern(state)) {
      const CUresult result = driver.captures.record(state, &record.captured.emplace());
      if (result != CUDA_SUCCESS) return result;
    } else {
      record.fence = driver.scheduler.add_fence(state.stream);
    }
    const std::lock_guard lock(recorded->mutex);
    recorded->record = std::move(record);
    return CUDA_SUCCESS;
  });
}

CUresult cuEventQuery(CUevent event) {
  return call_context(Call::cuEventQuery, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> state = driver.events.find(event);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const auto [fence, captured] = state->last();
    if (captured) return driver.captures.refuse(*captured);
    if (fence != nullptr && !driver.scheduler.has_finished(fence)) return CUDA_ERROR_NOT_READY;
    return state->context->error();
  });
}

CUresult cuEventSynchronize(CUevent event) {
  return call_context(Call::cuEventSynchronize, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> state = driver.events.find(event);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const auto [fence, captured] = state->last();
    if (captured) return driver.captures.refuse(*captured);
    if (fence != nullptr) driver.scheduler.synchronize(fence);
    return state->context->error();
  });
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  return call_context(Call::cuEventElapsedTime, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> first = driver.events.find(begin);
    const std::shared_ptr<EventState> second = driver.events.find(end);
    if (milliseconds == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (first == nullptr || second == nullptr || first->context != second->context ||
        !first->timing || !second->timing) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    const EventRecord from = first->last();
    const EventRecord to = second->last();
    for (const EventRecord* record : {&from, &to}) {
      if (record->captured) return driver.captures.refuse(*record->captured);
      if (record->fence == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    }
    for (const EventRecord* record : {&from, &to}) {
      if (!driver.scheduler.has_finished(record->fence)) return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = 0;  // the interpreter's time must never pass for a GPU's time
    return CUDA_SUCCESS;
  });
}

}  // namespace cudasim
