// Chooses the kernels of a call, from the table in kernel_table.h, and their grids. The functions
// here are pure: they depend on the call and the device alone. No choice changes a result's bits.
#pragma once

#include <cstdint>

#include "../../op/rms_norm.h"
#include "../kernels/kernel_registry.h"

namespace rmsnorm::cuda {

// The properties of a call that the choice of kernels and grids depends on.
struct Call {
  Shape shape;
  DType dtype;
  DType weight_dtype;           // `dtype` if there is no weight
  int access_bytes;             // the widest that all rows allow: 2 to 16; the weight may forbid 16
  bool is_fast = false;         // a fast call (see Kind); hidden_size is checked later
  bool is_llama_order = false;  // 16-bit tensors only
  bool has_rstd = false;        // backward: rstd need not be recomputed
  bool is_in_place = false;     // backward: dx is written over x or dy
  bool has_gate = false;
  bool is_quantized = false;  // forward

  // Reads no memory. Uses addresses and strides for their alignment, and compares addresses for
  // is_in_place. Pointers may be null.
  static Call of(const ForwardArgs& args);
  static Call of(const BackwardArgs& args);
};

// The properties of a device that the choice depends on.
struct Limits {
  int architecture;  // such as 90 for compute capability 9.0
  int multiprocessors;
  int shared_bytes;  // the most shared memory that a block can have
  int cache_bytes;   // size of the L2 cache
};

inline constexpr std::int64_t kMaxBlocks = (std::int64_t{1} << 31) - 1;  // CUDA's limit for a grid

// One launch. Grids have one dimension.
struct LaunchConfig {
  const KernelEntry* kernel = nullptr;
  std::int64_t blocks = 0;
  unsigned block_x = 1;
  unsigned block_y = 1;
  unsigned shared_bytes = 0;
};

// For rows that a block holds in registers. The kernel is null if the rows are too long, and for
// some quantised calls: use LongConfig then. Calls that are not quantised always have a kernel for
// rows of at most kResidentColumns columns.
inline constexpr std::int64_t kResidentColumns = 4096;
LaunchConfig configure_forward(const Call& call);

// configure_backward() gets the rows of a row group as `group_rows` if dweight is wanted, else 0.
// If rows.kernel is null, use LongConfig.
struct BackwardConfig {
  LaunchConfig rows;            // dx, and dweight's partial rows unless `columns` computes them
  std::int64_t group_rows = 0;  // rows that a block of the launch `rows` processes
  int stages = 0;               // fast kernels: rows that a block has in shared memory
  bool prefetches = false;      // backward_steps: prefetch the next step's rows to the L2 cache
  LaunchConfig columns;  // dweight's partial rows if there are few row groups; else no kernel
};
BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// For rows too long for one block, and for rows of any length that have no kernel above, as in
// backward with a gate. The rows are processed in waves. A wave has three launches, one after
// another: its rows are few enough for the L2 cache, from which the second pass reads them. If
// quantised rows have their own scales, `second_pass` is launched twice. LaunchConfig::blocks is
// the number of blocks for one row, and in `second_pass` for group_rows rows.
struct LongConfig {
  std::int64_t splits;       // blocks that share the sums of a row
  LaunchConfig fold;         // fold_forward or fold_backward, a block for each split
  LaunchConfig sum_splits;   // the same kernel, a block for each row: sums over its splits
  LaunchConfig second_pass;  // scale_rows or backward_columns
  std::int64_t group_rows;   // rows of a block of backward_columns; for scale_rows 1
  std::int64_t wave_rows;    // rows of a wave, a multiple of group_rows
  std::int64_t sums_floats;  // floats of workspace for the sums of all rows
};
LongConfig configure_long_forward(const Call& call, const Limits& limits);
LongConfig configure_long_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// For the computation of dweight from `groups` partial rows.
struct ReduceConfig {
  LaunchConfig launch;
  int slice_groups;  // row groups that a thread sums
};
ReduceConfig configure_reduce_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups);

}  // namespace rmsnorm::cuda
