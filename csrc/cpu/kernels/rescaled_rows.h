// rstd and cbar of rows from their row sums, with a rescaled pass (fold.h) if one is needed. That
// is rare, so one test covers all rows in the lanes of a Vec. The pass itself runs the loops of
// reference_rows.h, in functions that are not inlined.
#pragma once

#include "../simd/rows.h"
#include "reference_rows.h"

namespace rmsnorm::cpu {
namespace {

// Replaces a caller's NaN by one without a payload. Rounding to bfloat16 adds to the bits of the
// NaN, and a payload could carry into its exponent and sign (Floats::kQuietNaN).
RMSNORM_INLINE float without_payload(float value) {
  return value == value ? value : __builtin_nanf("");
}

template <class X, class Args>
[[gnu::noinline, gnu::cold]] void rescale_rstd(const Args& args, Range rows, Vec sums, float eps,
                                               float (&rstd)[Vec::kLanes]) {
  alignas(64) float folds[Vec::kLanes];
  sums.store(folds);
  for (std::int64_t r = 0; r < rows.end - rows.begin; ++r) {
    if (rescale_factor(folds[r], eps) == 1.0f) continue;
    reference::with_x<X>(args, rows.begin + r, [&](const auto& x_at) {
      rstd[r] = reference::rstd_of_row(x_at, args.shape.hidden_size, eps);
    });
  }
}

// rstd of `rows` of a call, whose row sums are the lanes of `sums`.
template <class X, class Args>
RMSNORM_INLINE Vec rstd_of_rows(const Args& args, Range rows, Vec sums) {
  using Limits = FoldLimits<float>;
  const auto eps = static_cast<float>(args.options.eps);
  const float min_final_sum = eps < Limits::kSmallestNormal ? Limits::kTinySum : 0.0f;
  const Vec rstd =
      rstd_of(sums, Vec::broadcast(inverse(args.shape.hidden_size)), Vec::broadcast(eps));
  if (all_within(sums, min_final_sum, kLargestFloat)) [[likely]]
    return rstd;
  alignas(64) float rescaled[Vec::kLanes];
  rstd.store(rescaled);
  rescale_rstd<X>(args, rows, sums, eps, rescaled);
  return Vec::load(rescaled);
}

RMSNORM_INLINE bool gradient_folds_stand(Vec sums, Vec rstd) {
  return all_within(sums, -kLargestFloat, kLargestFloat) && all_within(rstd, 0.0f, kLargeRstd);
}

// Replaces cbar[r] if sums[r], the row sum of row rows.begin + r, is not final.
template <class X, bool kLlama>
[[gnu::noinline, gnu::cold]] void rescale_cbar(const BackwardArgs& args, Range rows, Vec sums,
                                               const float* rstd, float* cbar) {
  const reference::Weights<X> weights(args.weight, args.dtype, args.options);
  alignas(64) float folds[Vec::kLanes];
  sums.store(folds);
  for (std::int64_t r = 0; r < rows.end - rows.begin; ++r) {
    if (is_gradient_sum_final(folds[r], rstd[r])) continue;
    reference::with_dy_and_x<X, kLlama>(
        args, rows.begin + r, [&](const auto& dy_at, const auto& x_at) {
          cbar[r] = without_payload(reference::cbar_of_row<X, kLlama>(
              dy_at, x_at, weights, args.shape.hidden_size, rstd[r]));
        });
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
