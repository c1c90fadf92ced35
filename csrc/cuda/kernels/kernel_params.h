// What kernels are called with: one struct each, passed by value, the same for host and device.
// Pointers are device pointers. The dtypes behind `void` are the kernel's own (kernel_table.h).
#pragma once

#include <cstdint>

#include "matrix.h"

namespace rmsnorm::cuda {

// What all kernels of rows have in common.
struct RowParams {
  std::int64_t rows;
  std::int64_t hidden_size;
  const void* weight;  // (hidden_size), or null for ones
  float weight_offset;
  float eps;
  float inverse_size;      // f32(1 / hidden_size)
  int access_bytes;        // the widest access that the alignment of every row allows, 2 to 16
  bool weight_is_float32;  // for kernels of any weight
  bool is_llama_order;     // whether T(xhat) and T(dy * w) are rounded
  GateOrder gate_order;
  ConstMatrix gate;  // data null if there is none
};

struct ForwardParams {
  RowParams common;
  ConstMatrix x;
  ConstMatrix residual;  // data null if there is none
  Matrix sum;            // x + residual, where there is one
  Matrix y;
  float* rstd;             // (rows), or null if not wanted
  std::int64_t first_row;  // of this launch
  Quantization quantization;
  float* scales;  // (rows) of rows' own, or null if not wanted
};

struct BackwardParams {
  RowParams common;
  ConstMatrix dy;
  ConstMatrix x;
  const float* rstd;            // (rows), or null to recompute it
  Matrix dx;                    // data null if not wanted
  ConstMatrix dsum;             // added to dx; data null if there is none
  Matrix dgate;                 // written with dx where there is a gate
  float* partials;              // (groups, partial_stride), or null if dweight is not wanted
  std::int64_t partial_stride;  // floats
  std::int64_t group_rows;      // rows of a block: a row group, where dweight is wanted
  bool prefetches = false;      // the rows of the next step, of kernels in steps
  float* saved_rstd = nullptr;  // (rows): where plain kernels leave what they recompute, or null
  int stages = 0;               // rows that they have in shared memory
};

struct FinishParams {
  const float* partials;  // (groups, partial_stride)
  std::int64_t partial_stride;
  std::int64_t hidden_size;
  void* dweight;    // (hidden_size)
  int groups;       // 0 … kMaxRowGroups
  int part_groups;  // of a part of the tree: a power of two
  bool accumulate;
};

// Very long rows, whose sums are spread over `splits` blocks each. sums: (rows, splits) of x * x,
// behind them (rows, splits) of g * x; once finished the first of a row are rstd and cbar. Forward
// has the largest magnitudes of the chunks of scale_rows there, as bits.
template <class Params>
struct LongParams {
  Params of_rows;
  float* sums;
  std::int64_t splits;     // a power of two
  std::int64_t first_row;  // of this launch, and its row group
  std::int64_t first_group;
  bool is_finish;  // of the folds, and of rows' own scales: whether their parts are there
};

}  // namespace rmsnorm::cuda
