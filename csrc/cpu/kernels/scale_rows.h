// How rows are scaled once their rstd is known. Included by row_kernels.h.

// How the rows of a call are scaled, given to every function below as one type: of tensors of X,
// with weights or without, in Llama's order or not, by stores of a kind.
template <class T, bool kWeights, bool kLlamaOrder, Stores kWrites>
struct Scaling {
  using X = T;
  static constexpr bool kWeighted = kWeights;
  static constexpr bool kLlama = kLlamaOrder;
  static constexpr Stores kStores = kWrites;

  template <Floats kWhich>
  RMSNORM_INLINE static Pair apply(Pair xhat, Pair w) {
    if constexpr (kWeighted) return scaled<X, kLlama, kWhich>(xhat, w);
    return xhat;
  }
};

// Whether y of x is written down from its end. Streaming, never.
template <class S, class X>
RMSNORM_INLINE bool goes_down(const X* y, const X* x, const void* weights) {
  if constexpr (S::kStores == Stores::kStreaming) {
    return false;
  } else if constexpr (S::kWeighted && sizeof(X) == sizeof(float)) {
    return is_better_down(y, x, weights);
  } else {
    return is_better_down(y, x);
  }
}

// y of a row whose rstd is every lane of `rstd`. Streaming, the next row is fetched on the way.
template <class S, Floats kWhich, class X, class W>
RMSNORM_INLINE void scale_row(const ForwardArgs& args, const W& weights, std::int64_t row,
                              Vec rstd) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const X* const x = row_of<X>(args.x, row);
  const RowWriter<X, kWhich, S::kStores> y{row_of<X>(args.y, row)};
  if (hidden_size < kPairColumns) {
    const Pair xhat = load_part<X>(x, 0, hidden_size) * rstd;
    const Pair w = S::kWeighted ? weights.part(0, 0, hidden_size) : xhat;
    return y.part(0, 0, hidden_size, S::template apply<kWhich>(xhat, w));
  }
  const auto y_at = [&](const auto& from, std::int64_t column, std::int64_t j) {
    const Pair xhat = load_pair<X>(x + column + j) * rstd;
    return S::template apply<kWhich>(xhat, S::kWeighted ? from.at(j) : xhat);
  };
  const Walk walk = walk_row(y.data, hidden_size);
  Pair begin{};
  Pair end{};
  if (walk.begin > 0) begin = y_at(weights.from(0), 0, 0);
  if (walk.end < hidden_size) end = y_at(weights.from(walk.last), walk.last, 0);
  const X* const next = row + 1 < args.shape.rows ? row_of<X>(args.x, row + 1) : x;
  const auto w = weights.from(walk.begin);
  const bool down = goes_down<S>(y.data, x, weights.address());
  for_each_pair({walk.begin, walk.end}, down, [&](std::int64_t j) {
    if constexpr (S::kStores == Stores::kStreaming) prefetch_pair(next + j);
    y.at(j, y_at(w, walk.begin, j - walk.begin));
  });
  if (walk.begin > 0) y.edge(0, 0, walk.begin, begin);
  if (walk.end < hidden_size) y.edge(walk.last, walk.end - walk.last, kPairColumns, end);
}

// The same, where of x and w all but 0 are at least the magnitudes `smallest_x` and `smallest_w`.
template <class S, class X, class W>
RMSNORM_INLINE void scale_row(const ForwardArgs& args, const W& weights, std::int64_t row, Vec rstd,
                              float smallest_x, float smallest_w) {
  if (Magnitudes<X>::kMatter && is_normal(smallest_x, rstd, smallest_w)) {
    scale_row<S, Floats::kNormal, X>(args, weights, row, rstd);
  } else {
    scale_row<S, W::kFloats, X>(args, weights, row, rstd);
  }
}

// rstd of the rows from `first` on, whose folds are the lanes of `sums`.
template <class X>
RMSNORM_INLINE Vec finish_rstd(const ForwardArgs& args, Vec sums, std::int64_t first,
                               std::int64_t count, float (&rstds)[Vec::kLanes]) {
  const Vec rstd =
      rstd_of<X>(args.x, {first, first + count}, sums, args.shape.hidden_size, args.options);
  rstd.store(rstds);
  if (float* const out = static_cast<float*>(args.rstd); out != nullptr) {
    for (std::int64_t r = 0; r < count; ++r) out[first + r] = rstds[r];
  }
  return rstd;
}
