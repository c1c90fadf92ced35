// y and rstd of rows. Included by row_kernels.inl.

// y of one row. Cached, its columns are taken backwards, so that those of x the fold has read last
// are read first, while the nearest cache still holds them; streaming, the next row is fetched.
template <class X, class W, bool kLlama, Stores kStores>
RMSNORM_INLINE void scale_row(RowReader<X, X> x, const WeightReader<X, W>& weight, float rstd,
                              RowWriter<X, kNaNs<X, W>, kStores> y, const X* next,
                              std::int64_t hidden_size) {
  const Vec scale = Vec::broadcast(rstd);
  if (hidden_size < kPairColumns) {
    const Pair xhat = x.tail(0, hidden_size) * scale;
    y.tail(0, hidden_size, scaled<X, W, kLlama>(xhat, weight.tail(0, hidden_size)));
    return;
  }
  const auto y_at = [&](std::int64_t j) {
    return scaled<X, W, kLlama>(x.at(j) * scale, weight.at(j));
  };
  const Walk walk = walk_row(y.data, hidden_size);
  Pair first = both(Vec::zero());
  Pair last = both(Vec::zero());
  if (walk.begin > 0) first = y_at(0);
  if (walk.end < hidden_size) last = y_at(walk.last);
  if constexpr (kStores == Stores::kStreaming) {
    for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns) {
      prefetch(next + j);
      y.at(j, y_at(j));
    }
  } else {
    for (std::int64_t j = walk.end - kPairColumns; j >= walk.begin; j -= kPairColumns) {
      y.at(j, y_at(j));
    }
  }
  if (walk.begin > 0) y.edge(0, first);
  if (walk.end < hidden_size) y.edge(walk.last, last);
}

template <class X, class W, bool kLlama, Stores kStores>
void forward_rows(const ForwardArgs& args, Range rows) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const WeightReader<X, W> weight(args.weight, args.options);

  for (std::int64_t row = rows.begin; row < rows.end; row += together) {
    const std::int64_t count = rows.end - row < together ? rows.end - row : together;
    alignas(64) float rstd[Vec::kLanes] = {};
    fold_squares<X>(args.x, row, count, hidden_size, rstd);
    rstd_of(Vec::load(rstd), hidden_size, args.options.eps).store(rstd);

    for (std::int64_t r = 0; r < count; ++r) {
      if (args.rstd != nullptr) args.rstd[row + r] = rstd[r];
      const X* x = row_of<X>(args.x, row + r);
      const X* next = row + r + 1 < rows.end ? x + args.x.row_stride : x;
      scale_row<X, W, kLlama, kStores>({x}, weight, rstd[r], {row_of<X>(args.y, row + r)}, next,
                                       hidden_size);
    }
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
