// y and rstd of rows of a few tiles. Included by row_kernels.h.

// Rows of a few tiles: while some are scaled, the next are folded, so that memory is read and
// written all the time. `hidden_size` is that of args, known when compiled where the caller knows
// it. scale(row, rstd, smallest_x, rstds) scales one; `rstds` are of all the rows that smallest_x
// is of.
template <class X, class Scale>
RMSNORM_INLINE void forward_few_tiles(const ForwardArgs& args, Range rows, std::int64_t hidden_size,
                                      const Scale& scale) {
  const std::int64_t together = rows_together(hidden_size);
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

// Rows of at most one tile are counted from the cache line that they begin in: of the Pair at j
// those columns are of a row [begin, end) there.
RMSNORM_INLINE std::int64_t begin_at(std::int64_t j, std::int64_t begin) {
  return j == 0 ? begin : 0;
}
RMSNORM_INLINE std::int64_t end_at(std::int64_t j, std::int64_t end) {
  return end - j < kPairColumns ? end - j : kPairColumns;
}

// Whether all rows of y are of at most one tile, and begin equally far behind a cache line: those
// are scaled line by line, with masks at their ends. Measured with AVX-512 at 512x128, 16 bytes
// behind a line, it takes 0.9 of the time that edges take.
template <class X>
bool fit_lines(const ForwardArgs& args) {
  return kMasks<X> && args.shape.hidden_size <= kTileColumns && aligned_alike(args.y);
}

// Scales such rows.
template <class S>
struct Lines {
  using X = typename S::X;
  WeightPairs<X> w;
  std::int64_t begin;
  std::int64_t end;

  template <Floats kWhich>
  RMSNORM_INLINE void scale(const ForwardArgs& args, std::int64_t row, Vec rstd) const {
    const X* const x = row_of<X>(args.x, row) - begin;
    const RowWriter<X, kWhich, S::kStores> y{row_of<X>(args.y, row) - begin};
    const auto y_of = [&](std::int64_t j, Pair value) {
      const Pair xhat = value * rstd;
      return S::template apply<kWhich>(xhat, S::kWeighted ? w.at(j) : xhat);
    };
    const auto part = [&](std::int64_t j) {
      const std::int64_t from = begin_at(j, begin);
      const std::int64_t to = end_at(j, end);
      y.part(j, from, to, y_of(j, load_part<X>(x + j, from, to)));
    };
    part(0);
    std::int64_t j = kPairColumns;
    for (; j + kPairColumns <= end; j += kPairColumns) y.at(j, y_of(j, load_pair<X>(x + j)));
    if (j < end) part(j);
  }
};

// The same for float32 rows of kColumns, as heads of attention are. The weights stay in registers,
// and all of a row is loaded before any of it is stored, lest loads wait for stores (runs_into).
// Measured with AVX-512, it takes 0.6 of the time at 200x128 and 0.5 at 400x64; bfloat16, whose
// rounding needs registers too, takes up to 1.3 times as long so.
template <class S, std::int64_t kColumns>
class HeldLines {
 public:
  using X = typename S::X;

  HeldLines(WeightPairs<X> weights, std::int64_t begin) : begin_(begin) {
    for (std::int64_t i = 0; i <= kWhole; ++i) w_[i] = weights.at(i * kPairColumns);
  }

  template <Floats kWhich>
  RMSNORM_INLINE void scale(const ForwardArgs& args, std::int64_t row, Vec rstd) const {
    const X* const x = row_of<X>(args.x, row) - begin_;
    const RowWriter<X, kWhich, S::kStores> y{row_of<X>(args.y, row) - begin_};
    Pair value[kWhole + 1];
    value[0] = load_part<X>(x, begin_, kPairColumns);
    for (std::int64_t i = 1; i < kWhole; ++i) value[i] = load_pair<X>(x + i * kPairColumns);
    value[kWhole] = load_part<X>(x + kColumns, 0, begin_);
    for (std::int64_t i = 0; i <= kWhole; ++i) {
      value[i] = S::template apply<kWhich>(value[i] * rstd, w_[i]);
    }
    y.part(0, begin_, kPairColumns, value[0]);
    for (std::int64_t i = 1; i < kWhole; ++i) y.at(i * kPairColumns, value[i]);
    if (begin_ > 0) y.part(kColumns, 0, begin_, value[kWhole]);
  }

 private:
  static constexpr std::int64_t kWhole = kColumns / kPairColumns;
  static_assert(kColumns % kPairColumns == 0);

  Pair w_[kWhole + 1];  // the last is for what the row begins behind its line
  std::int64_t begin_;
};

// Rows of at most one tile, `behind` columns behind their lines, as the weights in memory are.
template <class S, class X>
void forward_lines(const ForwardArgs& args, Range rows, std::int64_t behind, WeightPairs<X> w,
                   float smallest_w) {
  constexpr bool kMatter = Magnitudes<X>::kMatter;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const auto run = [&](std::int64_t columns, const auto& row_kernel) {
    forward_few_tiles<X>(args, rows, columns,
                         [&](std::int64_t row, Vec rstd, float smallest_x, Vec rstds) {
                           if (kMatter && is_normal(smallest_x, rstds, smallest_w)) {
                             row_kernel.template scale<Floats::kNormal>(args, row, rstd);
                           } else {
                             row_kernel.template scale<Floats::kShort>(args, row, rstd);
                           }
                         });
  };
  if constexpr (__is_same(X, float) && S::kWeighted && S::kStores == Stores::kCached) {
    if (hidden_size == 64) return run(64, HeldLines<S, 64>(w, behind));
    if (hidden_size == 128) return run(128, HeldLines<S, 128>(w, behind));
  }
  run(hidden_size, Lines<S>{w, behind, behind + hidden_size});
}

template <class S, class X>
void forward_short_rows(const ForwardArgs& args, Range rows, const Weights<X>& weights) {
  const float smallest_w = S::kWeighted ? weights.smallest() : 1.0f;
  if constexpr (kMasks<X>) {
    if (fit_lines<X>(args)) {
      const std::int64_t behind = behind_line(row_of<X>(args.y, 0));
      const std::int64_t end = behind + args.shape.hidden_size;
      alignas(64) float copied[kTileColumns + 2 * kPairColumns];
      WeightPairs<X> w{copied, copied + Vec::kLanes};
      if (S::kWeighted && weights.are_prepared()) {
        w = weights.from(-behind);
      } else if (S::kWeighted) {
        for (std::int64_t j = 0; j < end; j += kPairColumns) {
          const Pair part = weights.part(j - behind, begin_at(j, behind), end_at(j, end));
          store_floats<false>(copied + j, part);
        }
      }
      return forward_lines<S>(args, rows, behind, w, smallest_w);
    }
  }
  forward_few_tiles<X>(args, rows, args.shape.hidden_size,
                       [&](std::int64_t row, Vec rstd, float smallest_x, Vec) {
                         scale_row<S, X>(args, weights, row, rstd, smallest_x, smallest_w);
                       });
}
