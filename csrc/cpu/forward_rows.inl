// y and rstd of rows. Included by row_kernels.inl.

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

// In which order y of x is written. Streaming, always up.
template <class S, class X>
RMSNORM_INLINE Steps steps_of(Range columns, const X* y, const X* x, const void* weights) {
  if constexpr (S::kStores == Stores::kStreaming) {
    return steps_up(columns);
  } else if constexpr (S::kWeighted && sizeof(X) == sizeof(float)) {
    return steps_over(columns, y, x, weights);
  } else {
    return steps_over(columns, y, x);
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
  const Steps steps = steps_of<S>({walk.begin, walk.end}, y.data, x, weights.address());
  std::int64_t j = steps.begin;
  for (std::int64_t n = steps.count; n > 0; --n, j += steps.by) {
    if constexpr (S::kStores == Stores::kStreaming) prefetch_pair(next + j);
    y.at(j, y_at(w, walk.begin, j - walk.begin));
  }
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

// A row of at most one tile, counted from the cache line that it begins in.
struct Lines {
  std::int64_t begin;
  std::int64_t end;

  // Of the Pair at j the columns that are of the row.
  RMSNORM_INLINE std::int64_t begin_at(std::int64_t j) const { return j == 0 ? begin : 0; }
  RMSNORM_INLINE std::int64_t end_at(std::int64_t j) const {
    return end - j < kPairColumns ? end - j : kPairColumns;
  }
};

// Whether all rows of y are of at most one tile, and begin equally far behind a cache line: those
// are scaled line by line, with masks at their ends. Measured with AVX-512 at 512x128, 16 bytes
// behind a line, it takes 0.9 of the time that edges take.
template <class X>
bool fit_lines(const ForwardArgs& args) {
  return kMasks<X> && args.shape.hidden_size <= kTileColumns && aligned_alike(args.y);
}

template <class S, Floats kWhich, class X>
RMSNORM_INLINE void scale_lines(const ForwardArgs& args, WeightPairs<X> w, Lines lines,
                                std::int64_t row, Vec rstd) {
  const X* const x = row_of<X>(args.x, row) - lines.begin;
  const RowWriter<X, kWhich, S::kStores> y{row_of<X>(args.y, row) - lines.begin};
  const auto y_of = [&](std::int64_t j, Pair value) {
    const Pair xhat = value * rstd;
    return S::template apply<kWhich>(xhat, S::kWeighted ? w.at(j) : xhat);
  };
  const auto part = [&](std::int64_t j) {
    const std::int64_t begin = lines.begin_at(j);
    const std::int64_t end = lines.end_at(j);
    y.part(j, begin, end, y_of(j, load_part<X>(x + j, begin, end)));
  };
  const std::int64_t whole = lines.end < kPairColumns ? 1 : lines.end / kPairColumns;
  const std::int64_t last = whole * kPairColumns;
  const Steps steps = steps_of<S>({kPairColumns, last}, y.data, x, w.a);
  part(0);
  std::int64_t j = steps.begin;
  for (std::int64_t n = steps.count; n > 0; --n, j += steps.by)
    y.at(j, y_of(j, load_pair<X>(x + j)));
  if (last < lines.end) part(last);
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

// Rows of a few tiles: while some are scaled, the next are folded, so that memory is read and
// written all the time. scale(row, rstd, smallest_x, rstds) scales one; `rstds` are of all the
// rows that smallest_x is of.
template <class X, class Scale>
RMSNORM_INLINE void forward_few_tiles(const ForwardArgs& args, Range rows, std::int64_t together,
                                      const Scale& scale) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  LaneSums<X> lanes;
  Magnitudes<X> magnitudes;
  const auto fold = [&](std::int64_t r, std::int64_t row) {
    const bool exists = row < rows.end;
    fold_row(lanes, r, together, exists ? hidden_size : 0,
             SquareFactors<X>{row_of<X>(args.x, exists ? row : rows.begin), &magnitudes});
  };
  for (std::int64_t r = 0; r < together; ++r) fold(r, rows.begin + r);
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t count = rows.end - first < together ? rows.end - first : together;
    alignas(64) float rstds[Vec::kLanes];
    const Vec sums = halve_lanes(lanes.sums(), together);
    const Vec rstd = finish_rstd<X>(args, sums, first, count, rstds);
    const float smallest = magnitudes.smallest(args.x, first, count, hidden_size);
    magnitudes = {};
    for (std::int64_t r = 0; r < count; ++r) {
      scale(first + r, Vec::broadcast(rstds[r]), smallest, rstd);
      fold(r, first + together + r);
    }
  }
}

template <class S, class X>
void forward_short_rows(const ForwardArgs& args, Range rows, const Weights<X>& weights,
                        std::int64_t together) {
  const float smallest_w = S::kWeighted ? weights.smallest() : 1.0f;
  if constexpr (kMasks<X>) {
    if (fit_lines<X>(args)) {
      const std::int64_t behind = behind_line(row_of<X>(args.y, 0));
      const Lines lines{behind, behind + args.shape.hidden_size};
      alignas(64) float copied[kTileColumns + 2 * kPairColumns];
      WeightPairs<X> w{copied, copied + Vec::kLanes};
      if (S::kWeighted && weights.are_prepared()) {
        w = weights.from(-behind);
      } else if (S::kWeighted) {
        for (std::int64_t j = 0; j < lines.end; j += kPairColumns) {
          const Pair part = weights.part(j - behind, lines.begin_at(j), lines.end_at(j));
          store_floats<false>(copied + j, part);
        }
      }
      return forward_few_tiles<X>(
          args, rows, together, [&](std::int64_t row, Vec rstd, float smallest_x, Vec rstds) {
            if (Magnitudes<X>::kMatter && is_normal(smallest_x, rstds, smallest_w)) {
              scale_lines<S, Floats::kNormal>(args, w, lines, row, rstd);
            } else {
              scale_lines<S, Floats::kShort>(args, w, lines, row, rstd);
            }
          });
    }
  }
  forward_few_tiles<X>(args, rows, together,
                       [&](std::int64_t row, Vec rstd, float smallest_x, Vec) {
                         scale_row<S, X>(args, weights, row, rstd, smallest_x, smallest_w);
                       });
}

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
  const std::int64_t together = rows_together(hidden_size);
  if (together > 1 && rows.end - rows.begin > 1) {
    return forward_short_rows<S>(args, rows, weights, together);
  }
  forward_long_rows<S>(args, rows, weights, S::kWeighted ? weights.smallest() : 1.0f);
}
