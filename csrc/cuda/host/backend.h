// The operator on a GPU.
#pragma once

#include <initializer_list>

#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../runtime/allocation.h"
#include "../runtime/stream.h"

namespace rmsnorm::cuda {

// On the device of an ordinal, over arrays of the host: rows go there and results come back in
// chunks (staging.h). Same bits as cpu::forward and cpu::backward, and as indifferent to how many
// threads call; calls on one device run one after another. Zero rows are legal. Arguments are the
// caller's to check (rms_norm.h says what they must be).
//
// Errors: kCudaUnavailable with the reason; kInvalidValue if there is no such device; kCuda for
// what the driver reports, such as no memory; kInvalidEnvironment (RMSNORM_NUM_THREADS). Outputs
// are partly written then.
Status forward(int ordinal, const ForwardArgs& args);
Status backward(int ordinal, const BackwardArgs& args);

// On memory of the device: enqueued, and not waited for. Same bits again. Pointers in the arguments
// are device pointers, aligned to their elements; `used` is the memory they point into. Errors:
// kCuda; kInvalidState of a stream that somebody else captures.
Status enqueue_forward(Stream& stream, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used);
Status enqueue_backward(Stream& stream, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used);

// Frees what calls left on the devices and releases their contexts. For when the last who could
// call has left; a later call starts anew.
void release();

}  // namespace rmsnorm::cuda
