// The operator on memory of the device: enqueued, and not waited for.
#pragma once

#include <initializer_list>

#include "../../op/rms_norm.h"
#include "allocation.h"
#include "stream.h"

namespace rmsnorm::cuda {

// Same bits as forward and backward of backend.h. Pointers in the arguments are device pointers,
// aligned to their elements; `used` is the memory they point into. Errors: kCuda; kInvalidState of
// a stream that somebody else captures.
Status enqueue_forward(Stream& stream, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used);
Status enqueue_backward(Stream& stream, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used);

}  // namespace rmsnorm::cuda
