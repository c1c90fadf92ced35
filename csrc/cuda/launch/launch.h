// Launches of the kernels.
#pragma once

#include <cstdint>

#include "../../op/fold.h"
#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../driver/device.h"

namespace rmsnorm::cuda {

// Pointers in the arguments are device pointers, aligned to their elements. Everything is enqueued
// on `stream`, within a DeviceScope; nothing here allocates or synchronises, so that all of it can
// be captured. Workspaces are aligned to 16 bytes and the callee's until the stream has passed.
// Errors: kCuda; kInvalidValue for float64, as check_dtype says it; kOutOfRange for rows in batches
// that are too many (matrix.h).

// Whether there are kernels of this dtype. Errors: kInvalidValue.
Status check_dtype(const Device& device, DType dtype);

// The bytes of the workspace that launch_forward needs for the same arguments: 0 for all but rows
// that no block holds, and some quantised ones.
std::int64_t forward_workspace_bytes(const Device& device, const ForwardArgs& args);
Status launch_forward(Device& device, const ForwardArgs& args, CUdeviceptr workspace,
                      CUstream stream);

// A row of partial sums of dweight: hidden_size floats, and room for whole 32-byte sectors.
constexpr std::int64_t partial_row_floats(std::int64_t hidden_size) {
  return ceil_div(hidden_size, 8) * 8;
}
constexpr std::int64_t partial_row_bytes(std::int64_t hidden_size) {
  return partial_row_floats(hidden_size) * static_cast<std::int64_t>(sizeof(float));
}

// dx, and if args.dweight is not null the partial rows of dweight at `partials`, one for each row
// group of group_rows rows. args.shape.rows may be a part of the whole, made of whole groups but
// for the last. args.dweight itself is not touched.
std::int64_t backward_workspace_bytes(const Device& device, const BackwardArgs& args,
                                      std::int64_t group_rows);
Status launch_backward(Device& device, const BackwardArgs& args, std::int64_t group_rows,
                       CUdeviceptr partials, CUdeviceptr workspace, CUstream stream);

// dweight from `groups` partial rows (0 … kMaxRowGroups), with accumulate and cast.
Status launch_finish_dweight(Device& device, const BackwardArgs& args, CUdeviceptr partials,
                             std::int64_t groups, CUstream stream);

}  // namespace rmsnorm::cuda
