// y and rstd of rows. Included by row_kernels.h.

template <class S, class W>
void forward_long_rows(const ForwardArgs& args, Range rows, const W& weights, float smallest_w) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    alignas(64) float sums[1 + Vec::kLanes];
    alignas(64) float rstds[Vec::kLanes];
    Magnitudes<X> magnitudes;
    fold_squares<X>(args.x, row, 1, hidden_size, magnitudes, sums);
    finish_rstd<X>(args, Vec::broadcast(sums[0]), row, 1, rstds);
    const float smallest_x = magnitudes.smallest(args.x, row, 1, hidden_size);
    scale_row<S, X>(args, weights, row, Vec::broadcast(rstds[0]), smallest_x, smallest_w);
  }
}

template <class S>
void forward_rows(const ForwardArgs& args, Range rows, const void* prepared) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  if (S::kWeighted && prepared == nullptr &&
      wants_preparing(args.dtype, args.weight, args.options)) {
    return with_raw_weights<X>(args.weight, args.options, [&](auto raw) {
      const bool is_known = Magnitudes<X>::kMatter && args.options.weight_offset == 0.0;
      const float smallest_w = is_known ? smallest_magnitude(raw.data, hidden_size) : 0.0f;
      forward_long_rows<S>(args, rows, raw, smallest_w);
    });
  }
  const Weights<X> weights(args.weight, prepared);
  if (rows_together(hidden_size) > 1 && rows.end - rows.begin > 1) {
    return forward_short_rows<S>(args, rows, weights);
  }
  forward_long_rows<S>(args, rows, weights, S::kWeighted ? weights.smallest() : 1.0f);
}
