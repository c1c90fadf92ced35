// Launches the kernels.
#pragma once

#include <cstdint>

#include "../../op/fold.h"
#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../driver/device.h"

namespace rmsnorm::cuda {

// Pointers in the arguments are device pointers, aligned to their elements. All work is enqueued on
// `stream`, within a DeviceScope. Nothing here allocates or synchronises, so that all of it can be
// captured. Workspaces are aligned to 16 bytes and in use until the stream completes. Errors:
// kCuda; kInvalidValue for float64 (check_dtype); kOutOfRange if batched rows are too many
// (matrix.h).

// Checks that there are kernels for this dtype. Errors: kInvalidValue.
Status check_dtype(const Device& device, DType dtype);

// Bytes of workspace that launch_forward() needs for the same arguments. It needs none, except for
// rows too long for one block and for some quantised calls.
std::int64_t forward_workspace_bytes(const Device& device, const ForwardArgs& args);
Status launch_forward(Device& device, const ForwardArgs& args, CUdeviceptr workspace,
                      CUstream stream);

// Floats and bytes of a partial row of dweight: hidden_size floats, rounded up to whole 32-byte
// sectors of GPU memory.
constexpr std::int64_t partial_row_floats(std::int64_t hidden_size) {
  return ceil_div(hidden_size, 8) * 8;
}
constexpr std::int64_t partial_row_bytes(std::int64_t hidden_size) {
  return partial_row_floats(hidden_size) * static_cast<std::int64_t>(sizeof(float));
}

// launch_backward() computes dx. If args.dweight is not null, it also computes the partial rows of
// dweight at `partials`, one for each row group of group_rows rows. args may hold only some rows of
// a call, but must hold whole row groups. The last row group of the call may have fewer rows.
// args.dweight itself is not touched.
std::int64_t backward_workspace_bytes(const Device& device, const BackwardArgs& args,
                                      std::int64_t group_rows);
Status launch_backward(Device& device, const BackwardArgs& args, std::int64_t group_rows,
                       CUdeviceptr partials, CUdeviceptr workspace, CUstream stream);

// Computes dweight from `groups` partial rows (0 … kMaxRowGroups): sums them, adds the old dweight
// if args.accumulate is set, and rounds the sums to the dtype of dweight.
Status launch_reduce_dweight(Device& device, const BackwardArgs& args, CUdeviceptr partials,
                             std::int64_t groups, CUstream stream);

}  // namespace rmsnorm::cuda
