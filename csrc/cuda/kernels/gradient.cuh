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

// Of a sum of g and x * factor.
__device__ inline RowScale row_scale(float gx_sum, float factor, float rstd, float inverse_size) {
  const float scale = factor == 1.0f ? rstd : rstd * __frcp_rn(factor);
  return {rstd, gx_sum * scale * inverse_size};
}

// The folds of a row of backward: one, or where anything is in doubt (row.cuh) up to four with
// another factor each, so that all threads that share a barrier take as many.
struct BackwardFolds {
  float rstd;           // as given, until it is recomputed
  float factor = 1.0f;  // of x, in the next fold
  int count = 0;

  // sums: of g * x, and of x * x if rstd is to be recomputed.
  __device__ bool is_doubtful(const float (&sums)[2], bool needs_xx,
                              const RowParams& params) const {
    const bool is_doubtful_rstd =
        needs_xx ? is_doubtful_square(sums[1], params.eps) : rstd > kLargeRstd;
    return is_doubtful_rstd || is_doubtful_product(sums[0]);
  }

  // After a fold: whether it was the last, which leaves rstd, factor and the sum of g * x.
  __device__ bool are_done(const float (&sums)[2], bool is_doubtful, bool needs_xx,
                           const RowParams& params) {
    ++count;
    if (count <= 2 && needs_xx) rstd = rstd_of(sums[1], factor, params.inverse_size, params.eps);
    if (count == 1) {
      if (!is_doubtful) return true;
      if (needs_xx) factor = rescale_factor(sums[1], params.eps);
    } else if (count == 2) {
      factor = 1.0f;
    } else if (count == 3) {
      if (!gradient_fold_stands(sums[0], rstd)) factor = power_of_two(rstd);
    }
    return count == 4;
  }
};

// dx = rstd * fma(-xhat, cbar, g), of one pack of a row, and dsum added to it.
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
  if (params.dsum.data != nullptr) {
    add_pack<T>(load<T, access>(row_of<T>(params.dsum, row), column, common), dx);
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

// One more column of the chains of g * x, x times a factor. Columns from hidden_size on contribute
// nothing, not even a zero: added to a sum of -0 it would make +0 of it.
template <class T, class W, Access access, class Column>
__device__ inline void fold_gradient(const Pack& x, const Pack& dy, Column column, float factor,
                                     const RowParams& params, Accumulators<T>& accumulators) {
  const Column columns = columns_from(column, params);
  if (access == Access::kPacks && columns <= 0) return;
  WeightPack<T, W> weight;
  weight.load(column, params);
  float values[kPackColumns<T>];
  float g[kPackColumns<T>];
  unpack_scaled<T>(x, factor, values);
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
