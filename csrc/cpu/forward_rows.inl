// y and rstd of rows. Included by row_kernels.inl.

// y of a row whose rstd is given. Streaming, the next row is fetched on the way.
template <class X, class W, bool kLlama, Stores kStores, Floats kWhich>
RMSNORM_INLINE void scale_row(const ForwardArgs& args, const WeightReader<X, W>& weights,
                              std::int64_t row, float rstd) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  // Copies: what is stored could be anywhere, and memory would be read again after every store.
  const WeightReader<X, W> weight = weights;
  const RowReader<X, X> x{row_of<X>(args.x, row)};
  const RowWriter<X, kWhich, kStores> y{row_of<X>(args.y, row)};
  const Vec scale = Vec::broadcast(rstd);

  if (hidden_size < kPairColumns) {
    const Pair xhat = x.tail(0, hidden_size) * scale;
    y.tail(0, hidden_size, scaled<X, W, kLlama, kWhich>(xhat, weight.tail(0, hidden_size)));
    return;
  }
  const auto y_at = [&](std::int64_t j) {
    return scaled<X, W, kLlama, kWhich>(x.at(j) * scale, weight.at(j));
  };
  const Walk walk = walk_row(y.data, hidden_size);
  Pair begin{};
  Pair end{};
  if (walk.begin > 0) begin = y_at(0);
  if (walk.end < hidden_size) end = y_at(walk.last);
  const X* next = row + 1 < args.shape.rows ? row_of<X>(args.x, row + 1) : x.data;
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns) {
    if constexpr (kStores == Stores::kStreaming) prefetch_pair(next + j);
    y.at(j, y_at(j));
  }
  if (walk.begin > 0) y.edge(0, 0, walk.begin, begin);
  if (walk.end < hidden_size) y.edge(walk.last, walk.end - walk.last, kPairColumns, end);
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

// The weights of such rows, as floats.
struct LineWeights {
  alignas(64) float values[kTileColumns + 2 * kPairColumns];

  template <class X, class W>
  LineWeights(const WeightReader<X, W>& weight, Lines lines) {
    if constexpr (!__is_same(W, NoWeight)) {
      for (std::int64_t j = 0; j < lines.end; j += kPairColumns) {
        const Pair w = weight.part(j - lines.begin, lines.begin_at(j), lines.end_at(j));
        w.a.store(values + j);
        w.b.store(values + j + Vec::kLanes);
      }
    }
  }
  template <class W>
  RMSNORM_INLINE auto at(std::int64_t j) const {
    if constexpr (__is_same(W, NoWeight)) {
      return NoWeight{};
    } else {
      return Pair{Vec::load(values + j), Vec::load(values + j + Vec::kLanes)};
    }
  }
};

// Whether all rows of y are of at most one tile, and begin equally far behind a cache line: those
// are scaled line by line, with masks at their ends. Measured with AVX-512 at 512x128, 16 bytes
// behind a line, it takes 0.9 of the time that edges take.
template <class X>
bool fit_lines(const ForwardArgs& args) {
  return kMasks<X> && args.shape.hidden_size <= kTileColumns && aligned_alike(args.y);
}

template <class X, class W, bool kLlama, Stores kStores, Floats kWhich>
RMSNORM_INLINE void scale_lines(const ForwardArgs& args, const LineWeights& weights, Lines lines,
                                std::int64_t row, float rstd) {
  const RowReader<X, X> x{row_of<X>(args.x, row) - lines.begin};
  const RowWriter<X, kWhich, kStores> y{row_of<X>(args.y, row) - lines.begin};
  const Vec scale = Vec::broadcast(rstd);
  const auto scaled_at = [&](std::int64_t j, Pair value) {
    return scaled<X, W, kLlama, kWhich>(value * scale, weights.template at<W>(j));
  };
  const auto part = [&](std::int64_t j) {
    const std::int64_t begin = lines.begin_at(j);
    const std::int64_t end = lines.end_at(j);
    y.part(j, begin, end, scaled_at(j, x.part(j, begin, end)));
  };
  part(0);
  std::int64_t j = kPairColumns;
  for (; j + kPairColumns <= lines.end; j += kPairColumns) y.at(j, scaled_at(j, x.at(j)));
  if (j < lines.end) part(j);
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

// What forward rounds where it is told, by a Bool, whether only normal floats are among it.
template <class X, class W, class Normal>
constexpr Floats floats_of(Normal) {
  return Normal::value ? Floats::kNormal : kFloats<X, W>;
}

// function(whether only normal floats will be rounded in these rows, as a Bool).
template <class X, class W, class Function>
RMSNORM_INLINE void with_floats(const NormalFloats<X, W>& normals, std::int64_t first,
                                std::int64_t count, Vec rstd, const Function& function) {
  if constexpr (NormalFloats<X, W>::kExist) {
    if (normals.has(first, count, rstd)) return function(Bool<true>{});
  }
  function(Bool<false>{});
}

// Rows of a few tiles: while some are scaled, the next are folded, so that memory is read and
// written all the time. scale(row, rstd, whether only normal floats are rounded as a Bool) scales
// one.
template <class X, class W, class Scale>
RMSNORM_INLINE void forward_few_tiles(const ForwardArgs& args, Range rows, std::int64_t together,
                                      const Scale& scale) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const NormalFloats<X, W> normals(args);
  LaneSums<X> lanes;
  const auto fold = [&](std::int64_t r, std::int64_t row) {
    const bool exists = row < rows.end;
    fold_row(lanes, r, together, exists ? hidden_size : 0,
             SquareFactors<X>{{row_of<X>(args.x, exists ? row : rows.begin)}});
  };
  for (std::int64_t r = 0; r < together; ++r) fold(r, rows.begin + r);
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t count = rows.end - first < together ? rows.end - first : together;
    alignas(64) float rstds[Vec::kLanes];
    const Vec sums = halve_lanes(lanes.sums(), together);
    const Vec rstd = finish_rstd<X>(args, sums, first, count, rstds);
    with_floats<X, W>(normals, first, count, rstd, [&](auto normal) {
      for (std::int64_t r = 0; r < count; ++r) {
        scale(first + r, rstds[r], normal);
        fold(r, first + together + r);
      }
    });
  }
}

template <class X, class W, bool kLlama, Stores kStores>
void forward_short_rows(const ForwardArgs& args, Range rows, std::int64_t together) {
  const WeightReader<X, W> weight(args.weight, args.options);
  if constexpr (kMasks<X>) {
    if (fit_lines<X>(args)) {
      const std::int64_t begin = RowReader<X, X>{row_of<X>(args.y, 0)}.behind_line(0);
      const Lines lines{begin, begin + args.shape.hidden_size};
      const LineWeights weights(weight, lines);
      return forward_few_tiles<X, W>(args, rows, together,
                                     [&](std::int64_t row, float rstd, auto normal) {
                                       scale_lines<X, W, kLlama, kStores, floats_of<X, W>(normal)>(
                                           args, weights, lines, row, rstd);
                                     });
    }
  }
  forward_few_tiles<X, W>(args, rows, together, [&](std::int64_t row, float rstd, auto normal) {
    scale_row<X, W, kLlama, kStores, floats_of<X, W>(normal)>(args, weight, row, rstd);
  });
}

template <class X, class W, bool kLlama, Stores kStores>
void forward_long_rows(const ForwardArgs& args, Range rows) {
  const WeightReader<X, W> weight(args.weight, args.options);
  const NormalFloats<X, W> normals(args);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    alignas(64) float rstds[Vec::kLanes];
    const Vec sums = fold_squares<X>(args.x, row, 1, args.shape.hidden_size);
    const Vec rstd = finish_rstd<X>(args, sums, row, 1, rstds);
    with_floats<X, W>(normals, row, 1, rstd, [&](auto normal) {
      scale_row<X, W, kLlama, kStores, floats_of<X, W>(normal)>(args, weight, row, rstds[0]);
    });
  }
}

template <class X, class W, bool kLlama, Stores kStores>
void forward_rows(const ForwardArgs& args, Range rows) {
  const std::int64_t together = rows_together(args.shape.hidden_size);
  if (together > 1 && rows.end - rows.begin > 1) {
    forward_short_rows<X, W, kLlama, kStores>(args, rows, together);
  } else {
    forward_long_rows<X, W, kLlama, kStores>(args, rows);
  }
}
