// y and rstd of rows. Included by row_kernels.inl.

// Short rows that are scaled together.
static constexpr std::int64_t kScaledRows = 4;

// y of kCount rows, aligned alike, from the first one on, whose rstd are given: together, so that a
// weight is loaded once for all. Streaming, the next row is fetched on the way.
template <class X, class W, bool kLlama, Stores kStores, std::int64_t kCount>
RMSNORM_INLINE void scale_rows(const ForwardArgs& args, const WeightReader<X, W>& weights,
                               std::int64_t first, const float* rstd) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  // Copies: what is stored could be anywhere, and memory would be read again after every store.
  const WeightReader<X, W> weight = weights;
  RowReader<X, X> x[kCount];
  RowWriter<X, kNaNs<X, W>, kStores> y[kCount];
  Vec scale[kCount];
  for (std::int64_t r = 0; r < kCount; ++r) {
    x[r] = {row_of<X>(args.x, first + r)};
    y[r] = {row_of<X>(args.y, first + r)};
    scale[r] = Vec::broadcast(rstd[r]);
  }

  if (hidden_size < kPairColumns) {
    for (std::int64_t r = 0; r < kCount; ++r) {
      const Pair xhat = x[r].tail(0, hidden_size) * scale[r];
      y[r].tail(0, hidden_size, scaled<X, W, kLlama>(xhat, weight.tail(0, hidden_size)));
    }
    return;
  }
  const auto y_at = [&](std::int64_t r, std::int64_t j, auto w) {
    return scaled<X, W, kLlama>(x[r].at(j) * scale[r], w);
  };
  const Walk walk = walk_row(y[0].data, hidden_size);
  Pair begin[kCount] = {};
  Pair end[kCount] = {};
  for (std::int64_t r = 0; r < kCount; ++r) {
    if (walk.begin > 0) begin[r] = y_at(r, 0, weight.at(0));
    if (walk.end < hidden_size) end[r] = y_at(r, walk.last, weight.at(walk.last));
  }
  const X* next = first + kCount < args.shape.rows ? row_of<X>(args.x, first + kCount) : x[0].data;
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns) {
    if constexpr (kStores == Stores::kStreaming) prefetch(next + j);
    const auto w = weight.at(j);
    for (std::int64_t r = 0; r < kCount; ++r) y[r].at(j, y_at(r, j, w));
  }
  for (std::int64_t r = 0; r < kCount; ++r) {
    if (walk.begin > 0) y[r].edge(0, 0, walk.begin, begin[r]);
    if (walk.end < hidden_size) {
      y[r].edge(walk.last, walk.end - walk.last, kPairColumns, end[r]);
    }
  }
}

template <class X, class W, bool kLlama, Stores kStores>
void forward_rows(const ForwardArgs& args, Range rows) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const WeightReader<X, W> weight(args.weight, args.options);
  const bool rows_alike = aligned_alike(args.y.row_stride);

  for (std::int64_t row = rows.begin; row < rows.end; row += together) {
    const std::int64_t count = rows.end - row < together ? rows.end - row : together;
    alignas(64) float rstd[Vec::kLanes] = {};
    fold_squares<X>(args.x, row, count, hidden_size, rstd);
    rstd_of(Vec::load(rstd), hidden_size, args.options.eps).store(rstd);
    if (args.rstd != nullptr) {
      for (std::int64_t r = 0; r < count; ++r) args.rstd[row + r] = rstd[r];
    }
    std::int64_t r = 0;
    for (; rows_alike && r + kScaledRows <= count; r += kScaledRows) {
      scale_rows<X, W, kLlama, kStores, kScaledRows>(args, weight, row + r, rstd + r);
    }
    for (; r < count; ++r) scale_rows<X, W, kLlama, kStores, 1>(args, weight, row + r, rstd + r);
  }
  if constexpr (kStores == Stores::kStreaming) stream_fence();
}

void forward(const ForwardArgs& args, Range rows, Stores stores) {
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    using X = typename decltype(x)::Type;
    using W = typename decltype(w)::Type;
    if (stores == Stores::kStreaming) {
      forward_rows<X, W, llama.value, Stores::kStreaming>(args, rows);
    } else {
      forward_rows<X, W, llama.value, Stores::kCached>(args, rows);
    }
  });
}
