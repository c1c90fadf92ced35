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
  DType weight_dtype;           // dtype where there is no weight
  int access_bytes;             // the widest that every row allows, and the weight: 2 to 16
  bool is_plain = false;        // Kind says what that is, but for the number of columns
  bool is_llama_order = false;  // of 16-bit tensors
  bool has_rstd = false;        // backward: it need not be recomputed
  bool is_in_place = false;     // backward: dx is written over x or dy
  bool has_gate = false;
  bool is_quantized = false;  // forward

  // By the alignment of addresses and of strides. Pointers may be null.
  static Call of(const ForwardArgs& args);
  static Call of(const BackwardArgs& args);
};

// What of a device decides, too.
struct Limits {
  int architecture;  // such as 90, of compute capability 9.0
  int multiprocessors;
  int shared_bytes;  // a block can have
  int cache_bytes;   // of the second level
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

// Rows held by a block. The kernel is null if there is none for rows so long: see LongConfig. Those
// of up to so many columns have one, whatever the call, but for quantised ones.
inline constexpr std::int64_t kHeldColumns = 4096;
LaunchConfig configure_forward(const Call& call);

// `group_rows`: of a row group where dweight is wanted, else 0.
struct BackwardConfig {
  LaunchConfig rows;            // dx, and dweight's partial rows but for the next; see LongConfig
  std::int64_t group_rows = 0;  // of a block of `rows`
  int stages = 0;               // rows that a block of a plain kernel has in shared memory
  bool prefetches = false;  // of a kernel in steps, the next one's rows to the second-level cache
  LaunchConfig columns;     // the partial rows where there are few row groups; else no kernel
};
BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// Rows that no block holds, and those of any length for which there is no kernel above, as in
// backward with a gate: three launches, one after the other, for each wave of rows, whose second
// read so comes from the second-level cache. The blocks of a launch are for one row, of `finish`
// for so many as `group_rows`.
struct LongConfig {
  std::int64_t splits;  // blocks that share the sums of a row
  LaunchConfig fold;
  LaunchConfig finish_sums;
  LaunchConfig finish;       // scale_rows or backward_columns
  std::int64_t group_rows;   // of backward_columns, else 1
  std::int64_t wave_rows;    // a multiple of group_rows
  std::int64_t sums_floats;  // of the workspace
};
LongConfig configure_long_forward(const Call& call, const Limits& limits);
LongConfig configure_long_backward(const Call& call, std::int64_t group_rows, const Limits& limits);

// The end of dweight, from so many partial rows.
struct FinishConfig {
  LaunchConfig launch;
  int part_groups;  // that a thread sums
};
FinishConfig configure_finish_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups);

}  // namespace rmsnorm::cuda
