// What becomes of folds, and those that are taken again (fold.h). Included by row_kernels.h.
//
// Hardly a row is folded twice: one test of a group of rows finds that none must be, and the second
// fold is plain, and out of line.

// rstd of rows whose folds are the lanes of `sums` and stand.
RMSNORM_INLINE Vec rstd_of(Vec sums, std::int64_t hidden_size, float eps) {
  const Vec mean = mul(sums, Vec::broadcast(inverse(hidden_size)));
  return divide(Vec::broadcast(1.0f), sqrt(add(mean, Vec::broadcast(eps))));
}

template <class X>
[[gnu::noinline, gnu::cold]] Vec rescaled_rstd(const ConstRows& x, Range rows, Vec sums,
                                               std::int64_t hidden_size, float eps) {
  alignas(64) float folds[Vec::kLanes];
  alignas(64) float rstd[Vec::kLanes];
  sums.store(folds);
  rstd_of(sums, hidden_size, eps).store(rstd);
  for (std::int64_t r = 0; r < rows.end - rows.begin; ++r) {
    if (rescale_factor(folds[r], eps) == 1.0f) continue;
    rstd[r] = plain::rstd_of(row_of<X>(x, rows.begin + r), hidden_size, eps);
  }
  return Vec::load(rstd);
}

// rstd of `rows`, whose folds are the lanes of `sums`.
template <class X>
RMSNORM_INLINE Vec rstd_of(const ConstRows& x, Range rows, Vec sums, std::int64_t hidden_size,
                           const Options& options) {
  using Limits = FoldLimits<float>;
  const auto eps = static_cast<float>(options.eps);
  const float least = eps < Limits::kSmallestNormal ? Limits::kTinySum : 0.0f;
  if (!all_within(sums, least, kLargestFloat)) [[unlikely]] {
    return rescaled_rstd<X>(x, rows, sums, hidden_size, eps);
  }
  return rstd_of(sums, hidden_size, eps);
}

RMSNORM_INLINE bool gradient_folds_stand(Vec sums, Vec rstd) {
  return all_within(sums, -kLargestFloat, kLargestFloat) && all_within(rstd, 0.0f, kLargeRstd);
}

// Replaces cbar[r] where the fold sums[r] of row rows.begin + r does not stand.
template <class X, bool kLlama>
[[gnu::noinline, gnu::cold]] void rescale_cbar(const BackwardArgs& args, Range rows, Vec sums,
                                               const float* rstd, float* cbar) {
  const plain::Weights<X> weights(args.weight, args.dtype, args.options);
  alignas(64) float folds[Vec::kLanes];
  sums.store(folds);
  for (std::int64_t r = 0; r < rows.end - rows.begin; ++r) {
    if (gradient_fold_stands(folds[r], rstd[r])) continue;
    const float taken = plain::cbar_of<X, kLlama>(row_of<X>(args.dy, rows.begin + r),
                                                  row_of<X>(args.x, rows.begin + r), weights,
                                                  args.shape.hidden_size, rstd[r]);
    cbar[r] = without_payload(taken);
  }
}
