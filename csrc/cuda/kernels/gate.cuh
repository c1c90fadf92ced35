// Rows with a gate (silu.h), one pack of columns at a time. They have kernels of their own: a
// common kernel would take more registers for rows with and without a gate.
#pragma once

#include "../../op/silu.h"
#include "row.cuh"

namespace rmsnorm::cuda {

// The gate z of one pack of a row, and silu(z) and silu'(z).
template <class T, Access access, class Column>
__device__ inline Columns<T> load_gate(std::int64_t row, Column column, const RowParams& params) {
  return unpack<T>(load<T, access>(row_of<T>(params.gate, row), column, params));
}
template <class T>
__device__ inline Columns<T> silu(const Columns<T>& z) {
  Columns<T> s;
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) s.values[i] = rmsnorm::silu(z.values[i]);
  return s;
}
template <class T>
__device__ inline Columns<T> silu_derivative(const Columns<T>& z) {
  Columns<T> derivative;
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) {
    derivative.values[i] = rmsnorm::silu_derivative(z.values[i]);
  }
  return derivative;
}

// The norm's input, from a pack of x and of s, the silu of its gate.
template <class T>
__device__ inline Columns<T> input_of(const Columns<T>& x, const Columns<T>& s,
                                      const RowParams& params) {
  return params.gate_order == GateOrder::kBeforeNorm ? gated_x_of(x, s) : x;
}

// y of one pack, before its cast.
template <class T, class W>
__device__ inline Columns<T> gated_y(const Columns<T>& x, const Columns<T>& gate, float rstd,
                                     const WeightPack<T, W>& weight, const RowParams& params) {
  const Rounding<T> round{params.is_llama_order};
  const Columns<T> s = silu(gate);
  const Columns<T> w = w_of(weight, params);
  const Columns<T> xhat = xhat_of(input_of(x, s, params), rstd);
  if (params.gate_order == GateOrder::kAfterNorm) return gated_y_of(xhat, w, s, round);
  return y_of(xhat, w, round);
}

}  // namespace rmsnorm::cuda
