// The formulas of rms_norm.h, each stated once, with the roundings of fold.h. V is the type that
// computes them: a float or double, a vector of floats (cpu/simd), a pack of columns
// (cuda/kernels). V has +, * and fma(a, b, c) = a * b + c. S is V, or one number for all elements
// of V. `round` is T() with CastOrder::kLlama, and the identity with CastOrder::kFloat.
#pragma once

#include "fold.h"

#if defined(__CUDACC__)
#define RMSNORM_FORMULA __device__ inline
#else
#define RMSNORM_FORMULA [[gnu::always_inline]] inline
#endif

namespace rmsnorm {
namespace {

#if defined(__CUDACC__)
RMSNORM_FORMULA float inverse_sqrt(float value) { return __frcp_rn(__fsqrt_rn(value)); }
#else
RMSNORM_FORMULA float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
RMSNORM_FORMULA double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
RMSNORM_FORMULA float inverse_sqrt(float value) { return 1 / __builtin_sqrtf(value); }
RMSNORM_FORMULA double inverse_sqrt(double value) { return 1 / __builtin_sqrt(value); }
#endif

// `sum` is the row sum of x * x. rescaled_rstd takes the row sum of (x * f) * (x * f) instead.
template <class V>
RMSNORM_FORMULA V rstd_of(V sum, V inverse_size, V eps) {
  return inverse_sqrt(sum * inverse_size + eps);
}
template <class V>
RMSNORM_FORMULA V rescaled_rstd(V sum, V inverse_size, V eps, V f) {
  return rstd_of(sum, inverse_size, eps * f * f) * f;
}

template <class V, class S>
RMSNORM_FORMULA V xhat_of(V x, S rstd) {
  return x * rstd;
}

// y before its cast.
template <class V, class Round>
RMSNORM_FORMULA V y_of(V xhat, V w, const Round& round) {
  return round(xhat) * w;
}

template <class V, class Round>
RMSNORM_FORMULA V g_of(V dy, V w, const Round& round) {
  return round(dy * w);
}

// mean(g * xhat), where `sum` is the row sum of g * x. If `sum` is the row sum of g * (x * f), the
// argument `rstd` must be the row's rstd * (1 / f).
template <class V>
RMSNORM_FORMULA V cbar_of(V sum, V rstd, V inverse_size) {
  return (sum + V{}) * rstd * inverse_size;
}

// dx before dsum is added and before its cast.
template <class V, class S>
RMSNORM_FORMULA V dx_of(V g, V xhat, S rstd, S minus_cbar) {
  return fma(xhat, minus_cbar, g) * rstd;
}

// Adds a row to the chain of a column of dweight.
template <class V, class Round>
RMSNORM_FORMULA V add_to_dweight(V chain, V dy, V xhat, const Round& round) {
  return fma(dy, round(xhat), chain);
}

// The functions below are for rows with a gate z; s is silu(z). A gate after the norm is applied to
// normed, which is y of a call without a gate. gated_y is then y before its cast. dn replaces dy in
// g and dweight.
template <class V, class Round>
RMSNORM_FORMULA V normed_of(V xhat, V w, const Round& round) {
  return round(y_of(xhat, w, round));
}
template <class V, class Round>
RMSNORM_FORMULA V gated_y_of(V xhat, V w, V s, const Round& round) {
  return normed_of(xhat, w, round) * s;
}
template <class V, class Round>
RMSNORM_FORMULA V dn_of(V dy, V s, const Round& round) {
  return round(dy * s);
}

// If the gate is before the norm, gated_x replaces x in the formulas above, and dx is the gradient
// of gated_x. The gradient of x is gated_dx, before dsum is added and before its cast.
template <class V>
RMSNORM_FORMULA V gated_x_of(V x, V s) {
  return x * s;
}
template <class V>
RMSNORM_FORMULA V gated_dx_of(V dx, V s) {
  return dx * s;
}

// dgate before its cast; `derivative` is silu'(z). `gradient` and `gated` are dy and normed for a
// gate after the norm. For a gate before the norm, they are dx (the gradient of gated_x) and x.
template <class V>
RMSNORM_FORMULA V dgate_of(V gradient, V gated, V derivative) {
  return gradient * gated * derivative;
}

// The sum by neighbours (fold.h) of leaf(0) … leaf(count - 1), which are called in this order;
// 1 <= count <= kMaxRowGroups. A sum of 2^k neighbours waits for the next sum of 2^k neighbours,
// like the digits of a binary counter. The sums that still wait at the end are added from the
// fewest leaves to the most. This has the order of fold.h, where the last of an odd number of sums
// moves to the next level unchanged.
template <class Leaf, class Add>
RMSNORM_FORMULA auto neighbour_tree(int count, const Leaf& leaf, const Add& add) {
  decltype(leaf(0)) waiting[kTreeLevels + 1];
  int depth = 0;
  auto sum = leaf(0);
#if defined(__CUDACC__)
#pragma unroll
#endif
  for (int i = 1; i < count; ++i) {
    waiting[depth++] = sum;
    sum = leaf(i);
#if defined(__CUDACC__)
#pragma unroll
#endif
    for (int carry = i; carry & 1; carry >>= 1) sum = add(waiting[--depth], sum);
  }
  while (depth > 0) sum = add(waiting[--depth], sum);
  return sum;
}

}  // namespace
}  // namespace rmsnorm
