// dx of rows and their sums of dweight. Included by row_kernels.inl.
//
// A row of partial sums holds Pairs in the order of the tensors, as rows are walked (Walk): the
// edge at column 0, the whole Pairs, the edge at the end; of a short row, one Pair.

// Rows whose dx and dweight are computed together, so that a partial sum is loaded and stored once
// for all of them. Rows of 4096 floats lie a multiple of 4096 bytes apart, where the nearest cache
// has eight lines for all: two rows of dy, x and dx, and the partial sum. Measured at 32x4096, one
// thread: 1.0 with 2, 1.06 with 1, 1.3 with 4; at 512x4096 4 gains 5%.
static constexpr std::int64_t kBackwardRows = 2;
static constexpr std::int64_t kMostRows = kBackwardRows > Vec::kLanes ? kBackwardRows : Vec::kLanes;

// One row of backward: what its columns need besides dy, x and w.
template <class X, class W, Stores kStores>
struct BackwardRow {
  RowReader<X, X> dy;
  RowReader<X, X> x;
  RowWriter<X, kFloats<X, W>, kStores> dx;
  float rstd;
  float cbar;
};

// Rows of one call are walked alike, by the first one's alignment.
template <class X>
RMSNORM_INLINE Walk walk_backward(const BackwardArgs& args) {
  const void* aligned = args.dx.data != nullptr ? args.dx.data : args.x.data;
  return walk_row(static_cast<const X*>(aligned), args.shape.hidden_size);
}

// dx of one Pair of columns of a row; acc gains dy * xhat.
template <class X, class W, bool kLlama, bool kDx, bool kDweight, class Weights, class Row>
RMSNORM_INLINE Pair backward_pair(Pair dy, Pair x, Weights w, const Row& row, Pair& acc) {
  const Vec rstd = Vec::broadcast(row.rstd);
  const Pair xhat = x * rstd;
  if constexpr (kDweight) {
    if constexpr (kLlama) {
      acc = fma(dy, round_pair<X, Floats::kShort>(xhat), acc);
    } else {
      acc = fma(dy, xhat, acc);
    }
  }
  if constexpr (!kDx) return xhat;
  const Pair minus_cbar = both(Vec::broadcast(-row.cbar));
  return fma(xhat, minus_cbar, weighted<X, W, kLlama>(dy, w)) * rstd;
}

// Every column of a few rows. `fresh`: the partial sums start here.
template <class X, class W, bool kLlama, bool kDx, bool kDweight, std::int64_t kCount, class Row>
RMSNORM_INLINE void backward_columns(const Row* all, const WeightReader<X, W>& weights, Walk walk,
                                     std::int64_t hidden_size, float* partial, bool fresh) {
  // Copies: what is stored could be anywhere, and memory would be read again after every store.
  const WeightReader<X, W> weight = weights;
  Row rows[kCount];
  for (std::int64_t r = 0; r < kCount; ++r) rows[r] = all[r];
  const auto load_partial = [&] {
    if (!kDweight || fresh) return both(Vec::zero());
    return Pair{Vec::load(partial), Vec::load(partial + Vec::kLanes)};
  };
  const auto store_partial = [&](Pair acc) {
    if constexpr (kDweight) {
      acc.a.store(partial);
      acc.b.store(partial + Vec::kLanes);
      partial += kPairColumns;
    }
  };
  const auto pair = [&](const Row& row, std::int64_t j, auto w, Pair& acc) {
    return backward_pair<X, W, kLlama, kDx, kDweight>(row.dy.at(j), row.x.at(j), w, row, acc);
  };

  if (hidden_size < kPairColumns) {
    Pair acc = load_partial();
    for (std::int64_t r = 0; r < kCount; ++r) {
      const Row& row = rows[r];
      const Pair dx = backward_pair<X, W, kLlama, kDx, kDweight>(
          row.dy.tail(0, hidden_size), row.x.tail(0, hidden_size), weight.tail(0, hidden_size), row,
          acc);
      if constexpr (kDx) row.dx.tail(0, hidden_size, dx);
    }
    store_partial(acc);
    return;
  }

  // The edges' dx wait until the rest is stored.
  const auto edge = [&](std::int64_t j, Pair* dx) {
    Pair acc = load_partial();
    for (std::int64_t r = 0; r < kCount; ++r) dx[r] = pair(rows[r], j, weight.at(j), acc);
    store_partial(acc);
  };
  Pair first[kCount] = {};
  Pair last[kCount] = {};
  if (walk.begin > 0) edge(0, first);
  float* const whole = partial;
  partial += kDweight ? walk.end - walk.begin : 0;
  if (walk.end < hidden_size) edge(walk.last, last);
  partial = whole;
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns) {
    const auto w = weight.at(j);
    Pair acc = load_partial();
    for (std::int64_t r = 0; r < kCount; ++r) {
      const Pair dx = pair(rows[r], j, w, acc);
      if constexpr (kDx) rows[r].dx.at(j, dx);
    }
    store_partial(acc);
  }
  if constexpr (kDx) {
    for (std::int64_t r = 0; r < kCount; ++r) {
      if (walk.begin > 0) rows[r].dx.edge(0, 0, walk.begin, first[r]);
      if (walk.end < hidden_size) {
        rows[r].dx.edge(walk.last, walk.end - walk.last, kPairColumns, last[r]);
      }
    }
  }
}

template <class X, class W, bool kLlama, bool kDx, bool kDweight, Stores kStores>
void backward_rows(const BackwardArgs& args, Range rows, float* partial) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const std::int64_t block = together > kBackwardRows ? together : kBackwardRows;
  const WeightReader<X, W> weight(args.weight, args.options);
  const Walk walk = walk_backward<X>(args);
  const Vec inverse_size = Vec::broadcast(inverse(hidden_size));

  for (std::int64_t first = rows.begin; first < rows.end; first += block) {
    const std::int64_t count = rows.end - first < block ? rows.end - first : block;
    BackwardRow<X, W, kStores> row[kMostRows];
    for (std::int64_t begin = 0; begin < count; begin += together) {
      const std::int64_t n = count - begin < together ? count - begin : together;
      const std::int64_t index = first + begin;
      alignas(64) float rstd[Vec::kLanes] = {};
      alignas(64) float cbar[Vec::kLanes] = {};
      if (args.rstd == nullptr) {
        const Vec sums = fold_squares<X>(args.x, index, n, hidden_size);
        rstd_of(sums, hidden_size, args.options.eps).store(rstd);
      } else {
        for (std::int64_t r = 0; r < n; ++r) rstd[r] = without_payload(args.rstd[index + r]);
      }
      if constexpr (kDx) {
        const Vec sums = fold_gradients<X, W, kLlama>(args, weight, index, n);
        mul(mul(sums, Vec::load(rstd)), inverse_size).store(cbar);
      }
      for (std::int64_t r = 0; r < n; ++r) {
        row[begin + r] = {{row_of<X>(args.dy, index + r)},
                          {row_of<X>(args.x, index + r)},
                          {kDx ? row_of<X>(args.dx, index + r) : nullptr},
                          rstd[r],
                          cbar[r]};
      }
    }
    std::int64_t r = 0;
    for (; r + kBackwardRows <= count; r += kBackwardRows) {
      backward_columns<X, W, kLlama, kDx, kDweight, kBackwardRows>(
          row + r, weight, walk, hidden_size, partial, first + r == rows.begin);
    }
    for (; r < count; ++r) {
      backward_columns<X, W, kLlama, kDx, kDweight, 1>(row + r, weight, walk, hidden_size, partial,
                                                       first + r == rows.begin);
    }
  }
  if constexpr (kStores == Stores::kStreaming) stream_fence();
}

void backward(const BackwardArgs& args, Range rows, Stores stores, float* partial) {
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    using X = typename decltype(x)::Type;
    using W = typename decltype(w)::Type;
    constexpr bool kLlama = llama.value;
    if (args.dx.data == nullptr) {
      backward_rows<X, W, kLlama, false, true, Stores::kCached>(args, rows, partial);
    } else if (stores == Stores::kStreaming && aligned_alike(args.dx.row_stride)) {
      if (partial == nullptr) {
        backward_rows<X, W, kLlama, true, false, Stores::kStreaming>(args, rows, partial);
      } else {
        backward_rows<X, W, kLlama, true, true, Stores::kStreaming>(args, rows, partial);
      }
    } else if (partial == nullptr) {
      backward_rows<X, W, kLlama, true, false, Stores::kCached>(args, rows, partial);
    } else {
      backward_rows<X, W, kLlama, true, true, Stores::kCached>(args, rows, partial);
    }
  });
}

void add_partial(float* sum, const float* partial, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += Vec::kLanes) {
    add(Vec::load(sum + i), Vec::load(partial + i)).store(sum + i);
  }
}

// The neighbour-first tree over one Pair of columns of `count` >= 1 rows of partial sums. Sums of
// 2^k neighbours wait on a stack for the next 2^k, as the digits of a binary counter do; what waits
// at the end is added from the fewest to the most, which is what an odd one passing through comes
// to.
RMSNORM_INLINE Pair tree_sum(const float* partials, std::int64_t count, std::int64_t stride) {
  Pair waiting[kTreeLevels + 1];
  int depth = 0;
  Pair sum = both(Vec::zero());
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > 0) waiting[depth++] = sum;
    sum = {Vec::load(partials + i * stride), Vec::load(partials + i * stride + Vec::kLanes)};
    for (std::int64_t carry = i; carry & 1; carry >>= 1) sum = waiting[--depth] + sum;
  }
  while (depth > 0) sum = waiting[--depth] + sum;
  return sum;
}

// dweight of T in the order of X from the partial sums `part`.
template <class X, class T>
void finish_pairs(const BackwardArgs& args, const float* partials, std::int64_t count, Range part) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t stride = partial_stride(hidden_size);
  const auto sum_at = [&](std::int64_t i) {
    return count == 0 ? both(Vec::zero()) : tree_sum(partials + i, count, stride);
  };
  const auto finish = [&](T* dweight, Pair sum) {
    if (args.accumulate) sum = RowReader<X, T>::read(dweight) + sum;
    if constexpr (__is_same(T, X)) {
      store_pair<X, Floats::kAny>(dweight, sum);
    } else {
      store_floats<kInterleaved<X>>(dweight, sum);
    }
  };
  // Of an edge only the columns that no whole Pair has: [begin, end) of dweight + first.
  T* const dweight = static_cast<T*>(args.dweight);
  const auto finish_edge = [&](std::int64_t first, std::int64_t begin, std::int64_t end, Pair sum) {
    alignas(64) T values[kPairColumns] = {};
    for (std::int64_t i = begin; i < end; ++i) values[i] = dweight[first + i];
    finish(values, sum);
    for (std::int64_t i = begin; i < end; ++i) dweight[first + i] = values[i];
  };

  if (hidden_size < kPairColumns) {
    if (part.begin == 0) finish_edge(0, 0, hidden_size, sum_at(0));
    return;
  }
  const Walk walk = walk_backward<X>(args);
  std::int64_t i = 0;
  const auto is_mine = [&] { return i >= part.begin && i < part.end; };
  if (walk.begin > 0) {
    if (is_mine()) finish_edge(0, 0, walk.begin, sum_at(i));
    i += kPairColumns;
  }
  for (std::int64_t j = walk.begin; j < walk.end; j += kPairColumns, i += kPairColumns) {
    if (is_mine()) finish(dweight + j, sum_at(i));
  }
  if (walk.end < hidden_size && is_mine()) {
    finish_edge(walk.last, walk.end - walk.last, kPairColumns, sum_at(i));
  }
}

void finish_dweight(const BackwardArgs& args, const float* partials, std::int64_t count,
                    Range part) {
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      finish_pairs<X, float>(args, partials, count, part);
    } else {
      finish_pairs<X, X>(args, partials, count, part);
    }
  });
}
