// Which kernel a call runs and with which grid: pure functions of the call, over the rows of
// kernel_table.h. None of the choices changes a result's bits.
#pragma once

#include <cstdint>

#include "../../op/rms_norm.h"
#include "../kernels/kernel_registry.h"

namespace rmsnorm::cuda {

// What decides about kernel and grid.
struct Call {
  Shape shape;
  DType dtype;
  DType weight_dtype;  // dtype where there is no weight
  int access_bytes;    // the widest that every row allows, and the weight: 2 to 16

  // By the alignment of addresses and of strides. Pointers may be null.
  static Call of(const ForwardArgs& args);
  static Call of(const BackwardArgs& args);
};

inline constexpr std::int64_t kMaxBlocks = (std::int64_t{1} << 31) - 1;  // of a grid, by CUDA

// One launch. Grids have one dimension.
struct LaunchConfig {
  const KernelEntry* kernel = nullptr;
  std::int64_t blocks = 0;
  unsigned block_x = 1;
  unsigned block_y = 1;
  unsigned shared_bytes = 0;
};

// Rows held by a block. The kernel is null if there is none for rows so long: see LongConfig.
LaunchConfig configure_forward(const Call& call);

// `group_rows`: of a row group where dweight is wanted, else 0 to have it chosen.
// `shared_limit`: bytes of shared memory a block can have on the device.
struct BackwardConfig {
  LaunchConfig rows;
  std::int64_t group_rows;  // of a block
};
BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, int shared_limit);

// Rows that no block holds: three launches, one after the other.
struct LongConfig {
  std::int64_t splits;  // blocks that share the sums of a row
  LaunchConfig fold;
  LaunchConfig finish_sums;
  LaunchConfig finish;       // scale_rows or backward_columns
  std::int64_t group_rows;   // of backward_columns
  std::int64_t sums_floats;  // of the workspace
};
LongConfig configure_long_forward(const Call& call);
LongConfig configure_long_backward(const Call& call, std::int64_t group_rows);

// The end of dweight, from so many partial rows.
struct FinishConfig {
  LaunchConfig launch;
  int part_groups;  // that a thread sums
};
FinishConfig configure_finish_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups);

}  // namespace rmsnorm::cuda
