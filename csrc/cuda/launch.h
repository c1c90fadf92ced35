// Launches of the kernels.
#pragma once

#include <cstdint>

#include "../rms_norm.h"
#include "../status.h"
#include "device.h"

namespace rmsnorm::cuda {

// Pointers in the arguments are device pointers. Everything is enqueued on `stream`; nothing here
// allocates or synchronises.

// 0 for all but very long rows.
std::int64_t forward_workspace_bytes(const Device& device, const ForwardArgs& args);
Status launch_forward(Device& device, const ForwardArgs& args, CUdeviceptr workspace,
                      CUstream stream);

// dx, and if args.dweight is not null the partial rows of dweight, one of hidden_size floats for
// each row group of group_rows rows (args.shape.rows may be a part of the whole, made of whole
// groups but for the last).
std::int64_t backward_workspace_bytes(const Device& device, const BackwardArgs& args);
Status launch_backward(Device& device, const BackwardArgs& args, std::int64_t group_rows,
                       CUdeviceptr partials, CUdeviceptr workspace, CUstream stream);

// dweight from `groups` partial rows (may be 0), with accumulate and cast.
Status launch_finish_dweight(Device& device, const BackwardArgs& args, CUdeviceptr partials,
                             std::int64_t groups, CUstream stream);

}  // namespace rmsnorm::cuda
