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
// written all the time.
template <class X, class W, bool kLlama, Stores kStores>
void forward_short_rows(const ForwardArgs& args, Range rows, std::int64_t together) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const WeightReader<X, W> weight(args.weight, args.options);
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
      constexpr Floats kWhich = normal.value ? Floats::kNormal : kFloats<X, W>;
      for (std::int64_t r = 0; r < count; ++r) {
        scale_row<X, W, kLlama, kStores, kWhich>(args, weight, first + r, rstds[r]);
        fold(r, first + together + r);
      }
    });
  }
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
      constexpr Floats kWhich = normal.value ? Floats::kNormal : kFloats<X, W>;
      scale_row<X, W, kLlama, kStores, kWhich>(args, weight, row, rstds[0]);
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
