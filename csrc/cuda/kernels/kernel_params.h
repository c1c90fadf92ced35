// The parameters of the kernels: one struct each, passed by value, the same for host and device.
// Pointers are device pointers. A kernel knows the dtypes behind `void` (kernel_table.h).
#pragma once

#include <cstdint>

#include "matrix.h"

namespace rmsnorm::cuda {

// The parameters that all kernels of rows have.
struct RowParams {
  std::int64_t rows;
  std::int64_t hidden_size;
  const void* weight;  // (hidden_size), or null for ones
  float weight_offset;
  float eps;
  float inverse_size;      // f32(1 / hidden_size)
  int access_bytes;        // the widest access that the alignment of every row allows, 2 to 16
  bool weight_is_float32;  // read by AnyWeight kernels
  bool is_llama_order;     // CastOrder::kLlama (rms_norm.h)
  GateOrder gate_order;
  ConstMatrix gate;  // data is null if there is none
};

struct ForwardParams {
  RowParams common;
  ConstMatrix x;
  ConstMatrix residual;  // data is null if there is none
  Matrix sum;            // x + residual, if there is a residual
  Matrix y;
  float* rstd;             // (rows), or null if not wanted
  std::int64_t first_row;  // the first of this launch
  Quantization quantization;
  float* scales;  // (rows), the rows' own scales, or null if not wanted
};

struct BackwardParams {
  RowParams common;
  ConstMatrix dy;
  ConstMatrix x;
  const float* rstd;            // (rows), or null to recompute it
  Matrix dx;                    // data is null if not wanted
  ConstMatrix dsum;             // added to dx; data is null if there is none
  Matrix dgate;                 // written with dx if there is a gate
  float* partials;              // (groups, partial_stride), or null if dweight is not wanted
  std::int64_t partial_stride;  // floats
  std::int64_t group_rows;      // rows of a block: those of a row group if dweight is wanted
  bool prefetches = false;      // backward_steps: prefetch the next step's rows
  float* saved_rstd = nullptr;  // (rows), for the rstd that a fast kernel recomputes; or null
  int stages = 0;               // fast kernels: the rows of a block that shared memory holds
};

struct ReduceParams {
  const float* partials;  // (groups, partial_stride)
  std::int64_t partial_stride;
  std::int64_t hidden_size;
  void* dweight;     // (hidden_size)
  int groups;        // 0 … kMaxRowGroups
  int slice_groups;  // row groups of a slice (kernel_table.h); a power of two
  bool accumulate;
};

// Very long rows. `splits` blocks share the sums of each row: each block sums a part, a split.
// `sums` holds two arrays of (rows, splits): the sums of x * x, then those of g * x. The second
// launch of the fold replaces a row's first element by rstd in the first array, and by cbar in the
// second. Forward uses the second array for the largest magnitudes of scale_rows' chunks, as bits.
template <class Params>
struct LongParams {
  Params of_rows;
  float* sums;
  std::int64_t splits;       // a power of two
  std::int64_t first_row;    // the first of this launch
  std::int64_t first_group;  // the row group of first_row
  // False in a launch that only writes the sums of the splits (fold) or the largest magnitudes of
  // the chunks (scale_rows). True in the launch of the same kernel that reads what the blocks of
  // that first launch wrote. True, too, if a kernel needs only one launch.
  bool is_second_launch;
};

}  // namespace rmsnorm::cuda
