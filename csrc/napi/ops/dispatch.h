// From the place of a call to its backend.
#pragma once

#include "../../cpu/backend.h"
#include "../../cuda/host/backend.h"
#include "../../cuda/runtime/enqueue.h"
#include "../args/arguments.h"
#include "../args/place.h"

namespace rmsnorm::napi {

inline Status run(const ForwardArgs& args, int device) {
  return device == kCpu ? cpu::forward(args) : cuda::forward(device, args);
}

inline Status run(const BackwardArgs& args, int device) {
  return device == kCpu ? cpu::backward(args) : cuda::backward(device, args);
}

// On memory of a device the work is enqueued.
inline Status run(const ForwardCall& call) {
  if (call.queue == nullptr) return run(call.args, call.device);
  return cuda::enqueue_forward(
      *call.queue, call.args,
      {&allocation_of(call.x), &allocation_of(call.weight), &allocation_of(call.y),
       &allocation_of(call.rstd), &allocation_of(call.residual), &allocation_of(call.sum)});
}

inline Status run(const BackwardCall& call) {
  if (call.queue == nullptr) return run(call.args, call.device);
  return cuda::enqueue_backward(
      *call.queue, call.args,
      {&allocation_of(call.dy), &allocation_of(call.x), &allocation_of(call.weight),
       &allocation_of(call.rstd), &allocation_of(call.dx), &allocation_of(call.dweight),
       &allocation_of(call.dsum)});
}

}  // namespace rmsnorm::napi
