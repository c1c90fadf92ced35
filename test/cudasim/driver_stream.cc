// Streams, events and host functions.
#include "driver.h"

namespace cudasim {
namespace {

void report_unknown(Driver& driver, const ContextPtr& current, const char* call) {
  driver.misuse(current->device, "invalid-handle",
                std::string(call) + " of a handle that stands for nothing (any more)");
}

}  // namespace

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return call_context(Call::cuStreamCreate, [&](Driver& driver, const ContextPtr& context) {
    if (stream == nullptr || (flags & ~CU_STREAM_NON_BLOCKING) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const bool blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    *stream = driver.streams.add(std::make_shared<StreamState>(
        StreamState{context, driver.scheduler.add_stream(context->engine, blocking)}));
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  return call_context(
      Call::cuStreamDestroy_v2,
      [&](Driver& driver, const ContextPtr& current) {
        const std::shared_ptr<StreamState> state = driver.streams.take(stream);
        if (state == nullptr) {
          report_unknown(driver, current, "cuStreamDestroy");
          return CUDA_ERROR_INVALID_HANDLE;
        }
        driver.scheduler.retire_stream(state->stream);  // which finishes what it has
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

CUresult cuStreamSynchronize(CUstream stream) {
  return call_context(Call::cuStreamSynchronize, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    driver.scheduler.finish(state.stream);
    return state.context->error();
  });
}

CUresult cuStreamQuery(CUstream stream) {
  return call_context(Call::cuStreamQuery, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!driver.scheduler.has_finished(state.stream)) return CUDA_ERROR_NOT_READY;
    return state.context->error();
  });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  return call_context(Call::cuStreamWaitEvent, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    const std::shared_ptr<EventState> awaited = driver.events.find(event);
    if (state.context == nullptr || awaited == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    // The record that is the last one now counts, not one to come.
    if (const Scheduler::MarkPtr mark = awaited->last()) {
      driver.scheduler.wait_for(state.stream, mark);
    }
    return CUDA_SUCCESS;
  });
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* user_data) {
  return call_context(Call::cuLaunchHostFunc, [&](Driver& driver, const ContextPtr& current) {
    const StreamState state = driver.find_stream(stream, current);
    if (state.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    driver.scheduler.run_on_host(state.stream, [context = state.context, function, user_data] {
      // As documented, it is not called after an error in its context.
      context->run([&] { function(user_data); });
    });
    return CUDA_SUCCESS;
  });
}

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
        if (driver.events.take(event) == nullptr) {  // streams that wait for it go on waiting
          report_unknown(driver, current, "cuEventDestroy");
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
    const std::lock_guard lock(recorded->mutex);
    recorded->mark = driver.scheduler.mark(state.stream);
    return CUDA_SUCCESS;
  });
}

CUresult cuEventQuery(CUevent event) {
  return call_context(Call::cuEventQuery, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> state = driver.events.find(event);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const Scheduler::MarkPtr mark = state->last();
    if (mark != nullptr && !driver.scheduler.has_finished(mark)) return CUDA_ERROR_NOT_READY;
    return state->context->error();
  });
}

CUresult cuEventSynchronize(CUevent event) {
  return call_context(Call::cuEventSynchronize, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> state = driver.events.find(event);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (const Scheduler::MarkPtr mark = state->last()) driver.scheduler.finish(mark);
    return state->context->error();
  });
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  return call_context(Call::cuEventElapsedTime, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<EventState> first = driver.events.find(begin);
    const std::shared_ptr<EventState> second = driver.events.find(end);
    if (milliseconds == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (first == nullptr || second == nullptr || first->context != second->context ||
        !first->timing || !second->timing || first->last() == nullptr ||
        second->last() == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!driver.scheduler.has_finished(first->last()) ||
        !driver.scheduler.has_finished(second->last())) {
      return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = 0;  // always: what an interpreter takes must never pass for a GPU's time
    return CUDA_SUCCESS;
  });
}

}  // namespace cudasim
