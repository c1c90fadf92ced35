// The operator on a GPU.
#pragma once

#include <initializer_list>

#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../runtime/allocation.h"
#include "../runtime/stream.h"

namespace rmsnorm::cuda {

// Both run on the device with this ordinal, over host arrays: rows are uploaded and results
// downloaded in chunks (staging.h). The results are bit-identical to those of cpu::forward and
// cpu::backward. Any number of threads may call; calls on one device run one after another. Zero
// rows are legal. The caller must check the arguments (rms_norm.h states what they must be).
//
// Errors: kCudaUnavailable with the reason; kInvalidValue if there is no such device or the tensors
// are float64; kOutOfRange if batched rows are too many (launch.h); kCuda for driver errors, such
// as a lack of memory; kInvalidEnvironment (RMSNORM_NUM_THREADS, RMSNORM_CUDA_CHUNK_BYTES). After
// an error some outputs may be written.
Status forward(int ordinal, const ForwardArgs& args);
Status backward(int ordinal, const BackwardArgs& args);

// Both run on device memory. They enqueue the work on the stream and do not wait for it. The
// results have the same bits as above. Pointers in the arguments are device pointers, aligned to
// their elements; `used` is the memory they point into. Errors: as launch.h and Stream::enqueue().
Status enqueue_forward(Stream& stream, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used);
Status enqueue_backward(Stream& stream, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used);

// Frees the memory that calls left cached and releases the devices' contexts. Call it when the last
// JavaScript environment ends. Later calls allocate and retain them again.
void release();

}  // namespace rmsnorm::cuda
