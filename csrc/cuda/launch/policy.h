// Chooses a call's kernels and grids: pure functions of the call and the device, over the table in
// kernel_table.h. No choice changes a result's bits.
#pragma once

#include <cstdint>

#include "../../op/rms_norm.h"
#include "../kernels/kernel_registry.h"

namespace rmsnorm::cuda {

// The properties of a call that decide on kernel and grid.
struct Call {
  Shape shape;
  DType dtype;
  DType weight_dtype;           // `dtype` if there is no weight
  int access_bytes;             // the widest that all rows and the weight allow: 2 to 16
  bool is_fast = false;         // a fast call (see Kind); hidden_size is checked later
  bool is_llama_order = false;  // 16-bit tensors only
  bool has_rstd = false;        // backward: rstd need not be recomputed
  bool is_in_place = false;     // backward: dx is written over x or dy
  bool has_gate = false;
  bool is_quantized = false;  // forward

  // Uses addresses and strides for their alignment. Pointers may be null.
  static Call of(const ForwardArgs& args);
  static Call of(const BackwardArgs& args);
};

// The properties of a device that decide on kernel and grid.
struct Limits {
  int architecture;  // such as 90 for compute capability 9.0
  int multiprocessors;
  int shared_bytes;  // the most that a block can have
  int cache_bytes;   // of the L2 cache
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

// For rows that a block holds in registers. The kernel is null if rows are too long: see
// LongConfig. Rows of at most kResidentColumns columns have a kernel for every call, except for
// quantised calls.
inline constexpr std::int64_t kResidentColumns = 4096;
LaunchConfig configure_forward(const Call& call);

// `group_rows`: rows of a row group if dweight is wanted, else 0. If rows.kernel is null, see
// LongConfig.
struct BackwardConfig {
  LaunchConfig rows;            // dx, and dweight's partial rows unless `columns` computes them
  std::int64_t group_rows = 0;  // rows of a block of `rows`
  int stages = 0;               // fast kernels: rows that a block has in shared memory
  bool prefetches = false;      // backward_steps: prefetch the next step's rows to the L2 cache
  LaunchConfig columns;  // dweight's partial rows if there are few row groups; else no kernel
};
BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// For rows too long for one block, and for rows of any length that have no kernel above, as in
// backward with a gate. Each wave of rows has three launches, one after another, so that the second
// read comes from the L2 cache. If quantised rows have their own scales, `second_pass` is launched
// twice. The blocks of a launch are for one row; those of `second_pass` are for group_rows rows.
struct LongConfig {
  std::int64_t splits;       // blocks that share the sums of a row
  LaunchConfig fold;         // fold_forward or fold_backward, over splits
  LaunchConfig sum_splits;   // the same kernel, over rows
  LaunchConfig second_pass;  // scale_rows or backward_columns
  std::int64_t group_rows;   // of backward_columns; else 1
  std::int64_t wave_rows;    // a multiple of group_rows
  std::int64_t sums_floats;  // floats of workspace
};
LongConfig configure_long_forward(const Call& call, const Limits& limits);
LongConfig configure_long_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// Computes dweight from `groups` partial rows.
struct ReduceConfig {
  LaunchConfig launch;
  int slice_groups;  // row groups that a thread sums
};
ReduceConfig configure_reduce_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups);

}  // namespace rmsnorm::cuda
