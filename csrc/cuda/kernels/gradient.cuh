// The elementwise parts of backward (fold.h), for one pack of columns.
#pragma once

#include "row.cuh"

namespace rmsnorm::cuda {

// g = dy * w.
template <class T, class W>
__device__ inline void weighted_gradient(const Pack& dy, const WeightPack<T, W>& weight,
                                         const RowParams& params, float (&g)[kPackColumns<T>]) {
  float w[kPackColumns<T>];
  add_offset(weight, params, w);
  unpack<T>(dy, g);
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) g[i] *= w[i];
  if (params.is_llama_order) round_to<T>(g);
}

// What dx and dweight need of a row's sums.
struct RowScale {
  float rstd;
  float cbar;  // mean(g * xhat)
};

__device__ inline RowScale row_scale(float gx_sum, float rstd, float inverse_size) {
  return {rstd, gx_sum * rstd * inverse_size};
}

// dx = rstd * fma(-xhat, cbar, g), of one pack of a row, and dresidual_out added to it.
template <class T, class W, Access access, class Column>
__device__ inline void store_dx(const BackwardParams& params, std::int64_t row, T* dx_row,
                                Column column, const Pack& x, const Pack& dy,
                                const WeightPack<T, W>& weight, RowScale scale) {
  const RowParams& common = params.common;
  float g[kPackColumns<T>];
  weighted_gradient<T, W>(dy, weight, common, g);
  float dx[kPackColumns<T>];
  unpack<T>(x, dx);
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) {
    dx[i] = scale.rstd * __fmaf_rn(-(dx[i] * scale.rstd), scale.cbar, g[i]);
  }
  if (params.dresidual_out.data != nullptr) {
    add_pack<T>(load<T, access>(row_of<T>(params.dresidual_out, row), column, common), dx);
  }
  store<T, access>(dx_row, column, pack<T>(dx), common);
}

// One more row of dweight's chains: sum = fma(dy, xhat, sum).
template <class T>
__device__ inline void add_row(const Pack& x, const Pack& dy, float rstd, const RowParams& params,
                               float (&sums)[kPackColumns<T>]) {
  float xhat[kPackColumns<T>];
  float gradient[kPackColumns<T>];
  unpack<T>(x, xhat);
  unpack<T>(dy, gradient);
#pragma unroll
  for (float& value : xhat) value *= rstd;
  if (params.is_llama_order) round_to<T>(xhat);
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) sums[i] = __fmaf_rn(gradient[i], xhat[i], sums[i]);
}

// A pack of columns of a row of partial sums. The row has room for whole packs.
template <class T, class Column>
__device__ inline void store_partial(float* partial_row, Column column,
                                     const float (&sums)[kPackColumns<T>]) {
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; i += kPackColumns<float>) {
    const float four[] = {sums[i], sums[i + 1], sums[i + 2], sums[i + 3]};
    store_global_pack(partial_row + column + i, pack<float>(four));
  }
}

// One more column of the chains of g * x. Columns from hidden_size on contribute nothing, not even
// a zero: added to a sum of -0 it would make +0 of it.
template <class T, class W, Access access, class Column>
__device__ inline void fold_gradient(const Pack& x, const Pack& dy, Column column,
                                     const RowParams& params, Accumulators<T>& accumulators) {
  const Column columns = columns_from(column, params);
  if (access == Access::kPacks && columns <= 0) return;
  WeightPack<T, W> weight;
  weight.load(column, params);
  float values[kPackColumns<T>];
  float g[kPackColumns<T>];
  unpack<T>(x, values);
  weighted_gradient<T, W>(dy, weight, params, g);
  if constexpr (access == Access::kParts) {
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      if (i >= columns) g[i] = -0.0f;  // times the x of +0 there: -0
    }
  }
  fold_pack<T>(g, values, accumulators);
}

}  // namespace rmsnorm::cuda
