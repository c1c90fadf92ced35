// The elementwise arithmetic of backward (fold.h), for one pack of columns.
#pragma once

#include "gate.cuh"

namespace rmsnorm::cuda {

// The functions below take x and dy as packs or, for rows with a gate, as unpacked columns. This
// overload of unpack() returns unpacked columns as they are.
template <class T>
__device__ inline const Columns<T>& unpack(const Columns<T>& columns) {
  return columns;
}

// g of one pack.
template <class T, class W, class Input>
__device__ inline Columns<T> g_pack(const Input& dy, const WeightPack<T, W>& weight,
                                    const RowParams& params) {
  return g_of(unpack<T>(dy), w_of(weight, params), Rounding<T>{params.is_llama_order});
}

// g of one pack, as a pack, if there is a weight and no offset, and the cast order is known. g is
// packed without loss: in Llama's order it is rounded to T, and in the other order T must be float.
template <class T, bool kIsLlama, class W>
__device__ inline Pack packed_g(const Pack& dy, const WeightPack<T, W>& weight) {
  static_assert(kIsLlama || sizeof(T) == sizeof(float));
  if constexpr (kIsLlama && __is_same(T, W)) {
    return multiply_packed<T>(dy, weight.packs[0]);
  } else {
    return pack(g_of(unpack<T>(dy), weight.columns(), Rounding<T>{false}));
  }
}

// The values from a row's sums that dx and dweight need.
struct RowScale {
  float rstd;
  float cbar;  // mean(g * xhat)
};

// RowScale from gx_sum, the row sum of g * (x * factor).
__device__ inline RowScale row_scale(float gx_sum, float factor, float rstd, float inverse_size) {
  const float scale = factor == 1.0f ? rstd : rstd * __frcp_rn(factor);
  return {rstd, cbar_of(gx_sum, scale, inverse_size)};
}

// The folds of a row in backward. There is one fold with factor 1, or, if any row may overflow
// (row.cuh), there are four:
//   1  factor 1
//   2  the factor of the rescaled pass of x * x. It gives rstd, if rstd is recomputed.
//   3  factor 1 again, for the sum of g * x
//   4  the factor of the rescaled pass of g * x. It gives the final sum.
// A factor is 1 if the row needs no such pass. All threads that share a barrier take the same
// number of folds.
struct BackwardFolds {
  float rstd;           // the caller's, until it is recomputed
  float factor = 1.0f;  // of x in the next fold
  int count = 0;

  // `sums` are the sum of g * x and, if needs_xx, the sum of x * x, from which rstd is recomputed.
  __device__ bool may_overflow(const float (&sums)[2], bool needs_xx,
                               const RowParams& params) const {
    if (needs_xx ? may_overflow_square(sums[1], params.eps) : rstd > kLargeRstd) return true;
    return may_overflow_product(sums[0]);
  }

  // Whether a row needs a rescaled pass, from its row sums. Exact, and for rows of any length: the
  // limit of may_overflow_square() holds only for the columns of one block.
  __device__ bool needs_rescaled_pass(const float (&row_sums)[2], bool needs_xx,
                                      const RowParams& params) const {
    if (needs_xx && rescale_factor(row_sums[1], params.eps) != 1.0f) return true;
    const float row_rstd = needs_xx ? rstd_of(row_sums[1], params.inverse_size, params.eps) : rstd;
    return !is_gradient_sum_final(row_sums[0], row_rstd);
  }

  // Call it after each fold. Returns whether that was the last fold. Then rstd, factor and the sum
  // of g * x are final.
  __device__ bool are_done(const float (&sums)[2], bool may_overflow, bool needs_xx,
                           const RowParams& params) {
    ++count;
    if (count <= 2 && needs_xx)
      rstd = rescaled_rstd(sums[1], params.inverse_size, params.eps, factor);
    if (count == 1) {
      if (!may_overflow) return true;
      if (needs_xx) factor = rescale_factor(sums[1], params.eps);
    } else if (count == 2) {
      factor = 1.0f;
    } else if (count == 3) {
      if (!is_gradient_sum_final(sums[0], rstd)) factor = power_of_two(rstd);
    }
    return count == 4;
  }
};

// Computes and stores dx of one pack of a row, with dsum.
template <class T, class W, Access access, class Column>
__device__ inline void store_dx(const BackwardParams& params, std::int64_t row, T* dx_row,
                                Column column, const Pack& x, const Pack& dy,
                                const WeightPack<T, W>& weight, RowScale scale) {
  const RowParams& common = params.common;
  const Columns<T> xhat = xhat_of(unpack<T>(x), scale.rstd);
  Columns<T> dx = dx_of(g_pack(dy, weight, common), xhat, scale.rstd, -scale.cbar);
  if (params.dsum.data != nullptr) {
    dx = dx + unpack<T>(load<T, access>(row_of<T>(params.dsum, row), column, common));
  }
  store<T, access>(dx_row, column, pack(dx), common);
}

// Adds one row to dweight's chains.
template <class T, class Input>
__device__ inline void add_row(const Input& x, const Input& dy, float rstd, const RowParams& params,
                               Columns<T>& chains) {
  const Columns<T> xhat = xhat_of(unpack<T>(x), rstd);
  chains = add_to_dweight(chains, unpack<T>(dy), xhat, Rounding<T>{params.is_llama_order});
}

// Stores a pack of columns of a partial row of dweight. The partial row has room for whole packs.
template <class T, class Column>
__device__ inline void store_partial(float* partial_row, Column column, const Columns<T>& sums) {
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; i += kPackColumns<float>) {
    const float* four = sums.values + i;
    store_global_pack(partial_row + column + i,
                      pack(Columns<float>{four[0], four[1], four[2], four[3]}));
  }
}

// Adds one column to each chain of g * (x * factor). x and dy are zeros from hidden_size on.
template <class T, class W, Access access, class Column, class Input>
__device__ inline void fold_gradient(const Input& x, const Input& dy, Column column, float factor,
                                     const RowParams& params, Accumulators<T>& accumulators) {
  if (access == Access::kPacks && columns_from(column, params) <= 0) return;
  WeightPack<T, W> weight;
  weight.load(column, params);
  const Columns<T> g = g_pack(dy, weight, params);
  accumulators = fma(g, unpack<T>(x) * factor, accumulators);
}

// One pack of a row with a gate: `input` replaces x, and `dn` replaces dy, in all sums and in dx.
template <class T>
struct GatedGradient {
  Columns<T> input;
  Columns<T> dn;

  __device__ GatedGradient(const Columns<T>& x, const Columns<T>& dy, const Columns<T>& s,
                           const RowParams& params)
      : input(input_of(x, s, params)), dn(dy) {
    if (params.gate_order == GateOrder::kBeforeNorm) return;
    dn = dn_of(dy, s, Rounding<T>{params.is_llama_order});
  }
};

// Computes and stores dx and dgate of one pack of a row with a gate z. They may overwrite any of
// their inputs.
template <class T, class W, Access access, class Column>
__device__ inline void store_gated(const BackwardParams& params, std::int64_t row, Column column,
                                   const Columns<T>& x, const Columns<T>& dy, const Columns<T>& z,
                                   const WeightPack<T, W>& weight, RowScale scale) {
  const RowParams& common = params.common;
  const Rounding<T> round{common.is_llama_order};
  const Columns<T> s = silu(z);
  const GatedGradient<T> gated(x, dy, s, common);
  const Columns<T> xhat = xhat_of(gated.input, scale.rstd);
  Columns<T> dx = dx_of(g_pack(gated.dn, weight, common), xhat, scale.rstd, -scale.cbar);
  Columns<T> dgate;
  if (common.gate_order == GateOrder::kBeforeNorm) {
    dgate = dgate_of(dx, x, silu_derivative(z));
    dx = gated_dx_of(dx, s);
  } else {
    dgate = dgate_of(dy, normed_of(xhat, w_of(weight, common), round), silu_derivative(z));
  }
  if (params.dsum.data != nullptr) {
    dx = dx + unpack<T>(load<T, access>(row_of<T>(params.dsum, row), column, common));
  }
  store<T, access>(row_of<T>(params.dx, row), column, pack(dx), common);
  store<T, access>(row_of<T>(params.dgate, row), column, pack(dgate), common);
}

}  // namespace rmsnorm::cuda
