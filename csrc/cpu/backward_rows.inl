// dx of rows and their sums of dweight. Included by row_kernels.inl.
//
// A row of partial sums holds Pairs in the order of the tensors, as rows are walked (Walk): the
// edge at column 0, the whole Pairs, the edge at the end; of a short row, one Pair.

// Rows are folded in blocks, whose dy and x are of so many bytes, until their columns are computed;
// at most so many rows, or as many as are folded together, and at least two, which share the
// reading of weights and partial sums. Measured with AVX-512 at 16x4096: blocks of 8 rows take 1.1
// times as long, of one 1.15 times; at 512x4096 16 take 1.15 times as long.
static constexpr std::int64_t kBlockBytes = 64 << 10;
static constexpr std::int64_t kBlockRows = 8;
static constexpr std::int64_t kMostRows = kBlockRows > Vec::kLanes ? kBlockRows : Vec::kLanes;

// Columns are computed in stripes through all rows of a block, whose weights and partial sums stay
// in registers. Narrower stripes leave the caches' prefetchers too little of a row: measured at
// 32x4096 with AVX-512, 64 columns take 1.4 times as long, and 192 or 256 as long as 128.
static constexpr std::int64_t kHeldPairs = 128 / kPairColumns < 8 ? 128 / kPairColumns : 8;

// One row of backward: what its columns need besides dy, x and w.
template <class X, class W, Stores kStores>
struct BackwardRow {
  RowReader<X, X> dy;
  RowReader<X, X> x;
  RowWriter<X, kFloats<X, W>, kStores> dx;
  RowReader<X, X> dresidual_out;  // data null if there is none
  float rstd;
  float cbar;

  RMSNORM_INLINE void store_dx(std::int64_t column, Pair value) const {
    dx.at(column, with_residual(column, value));
  }
  RMSNORM_INLINE Pair with_residual(std::int64_t column, Pair value) const {
    return dresidual_out.data == nullptr ? value : value + dresidual_out.at(column);
  }
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

// kPairCount whole Pairs of columns from column j on, of all rows of a block. Weights and partial
// sums stay in registers for all of them. `fresh`: the partial sums start here.
template <class X, class W, bool kLlama, bool kDx, bool kDweight, std::int64_t kPairCount,
          class Row>
RMSNORM_INLINE void backward_pairs(const Row* rows, std::int64_t count,
                                   const WeightReader<X, W>& weight, std::int64_t j, float* partial,
                                   bool fresh) {
  decltype(weight.at(0)) w[kPairCount];
  Pair acc[kPairCount];
  for (std::int64_t p = 0; p < kPairCount; ++p) {
    w[p] = weight.at(j + p * kPairColumns);
    acc[p] = both(Vec::zero());
    if (kDweight && !fresh) acc[p] = load_floats<false>(partial + p * kPairColumns);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    // A copy: what is stored could be anywhere, and memory would be read again after every store.
    const Row row = rows[r];
    for (std::int64_t p = 0; p < kPairCount; ++p) {
      const std::int64_t column = j + p * kPairColumns;
      const Pair dx = backward_pair<X, W, kLlama, kDx, kDweight>(
          row.dy.at(column), row.x.at(column), w[p], row, acc[p]);
      if constexpr (kDx) row.store_dx(column, dx);
    }
  }
  for (std::int64_t p = 0; p < kPairCount; ++p) {
    if constexpr (kDweight) store_floats<false>(partial + p * kPairColumns, acc[p]);
  }
}

// The same of up to one whole Pair, and of the row's edges that overlap it. The edges are loaded
// before and stored after it.
template <class X, class W, bool kLlama, bool kDx, bool kDweight, class Row>
RMSNORM_INLINE void backward_edges(const Row* rows, std::int64_t count,
                                   const WeightReader<X, W>& weight, Walk walk, Range whole,
                                   bool at_begin, bool at_end, float* partials, bool fresh) {
  const auto load = [&](const float* partial) {
    return kDweight && !fresh ? load_floats<false>(partial) : both(Vec::zero());
  };
  const auto store = [](float* partial, Pair acc) {
    if constexpr (kDweight) store_floats<false>(partial, acc);
  };
  float* const inner = partials + (kDweight && walk.begin > 0 ? kPairColumns : 0);
  float* const here = inner + (kDweight ? whole.begin - walk.begin : 0);
  float* const behind = inner + (kDweight ? walk.end - walk.begin : 0);
  Pair first_acc = load(at_begin ? partials : here);
  Pair acc = load(here);
  Pair last_acc = load(at_end ? behind : here);
  for (std::int64_t r = 0; r < count; ++r) {
    const Row row = rows[r];
    const auto pair = [&](std::int64_t j, Pair& sum) {
      const Pair dx = backward_pair<X, W, kLlama, kDx, kDweight>(row.dy.at(j), row.x.at(j),
                                                                 weight.at(j), row, sum);
      return row.with_residual(j, dx);
    };
    Pair first{};
    Pair last{};
    if (at_begin) first = pair(0, first_acc);
    if (at_end) last = pair(walk.last, last_acc);
    if (whole.begin < whole.end) {
      const Pair dx = pair(whole.begin, acc);
      if constexpr (kDx) row.dx.at(whole.begin, dx);
    }
    if constexpr (kDx) {
      if (at_begin) row.dx.edge(0, 0, walk.begin, first);
      if (at_end) row.dx.edge(walk.last, walk.end - walk.last, kPairColumns, last);
    }
  }
  if (at_begin) store(partials, first_acc);
  if (whole.begin < whole.end) store(here, acc);
  if (at_end) store(behind, last_acc);
}

// Every column of a block of rows.
template <class X, class W, bool kLlama, bool kDx, bool kDweight, class Row>
RMSNORM_INLINE void backward_columns(const Row* rows, std::int64_t count,
                                     const WeightReader<X, W>& weights, Walk walk,
                                     std::int64_t hidden_size, float* partials, bool fresh) {
  const WeightReader<X, W> weight = weights;
  if (hidden_size < kPairColumns) {
    Pair acc = kDweight && !fresh ? load_floats<false>(partials) : both(Vec::zero());
    for (std::int64_t r = 0; r < count; ++r) {
      const Row row = rows[r];
      Pair dx = backward_pair<X, W, kLlama, kDx, kDweight>(row.dy.tail(0, hidden_size),
                                                           row.x.tail(0, hidden_size),
                                                           weight.tail(0, hidden_size), row, acc);
      if constexpr (!kDx) continue;
      if (row.dresidual_out.data != nullptr) dx = dx + row.dresidual_out.tail(0, hidden_size);
      row.dx.tail(0, hidden_size, dx);
    }
    if constexpr (kDweight) store_floats<false>(partials, acc);
    return;
  }
  const bool at_begin = walk.begin > 0;
  const bool at_end = walk.end < hidden_size;
  float* const inner = partials + (kDweight && at_begin ? kPairColumns : 0);
  std::int64_t begin = walk.begin;
  std::int64_t end = walk.end;
  const auto edges = [&](Range whole, bool with_begin, bool with_end) {
    backward_edges<X, W, kLlama, kDx, kDweight>(rows, count, weight, walk, whole, with_begin,
                                                with_end, partials, fresh);
  };
  if (end - begin <= kPairColumns) return edges({begin, end}, at_begin, at_end);
  if (at_begin) {
    edges({begin, begin + kPairColumns}, true, false);
    begin += kPairColumns;
  }
  if (at_end) end -= kPairColumns;
  const auto at = [&](std::int64_t j) { return inner + (kDweight ? j - walk.begin : 0); };
  constexpr std::int64_t kHeld = kHeldPairs * kPairColumns;
  for (; begin + kHeld <= end; begin += kHeld) {
    backward_pairs<X, W, kLlama, kDx, kDweight, kHeldPairs>(rows, count, weight, begin, at(begin),
                                                            fresh);
  }
  for (; begin < end; begin += kPairColumns) {
    backward_pairs<X, W, kLlama, kDx, kDweight, 1>(rows, count, weight, begin, at(begin), fresh);
  }
  if (at_end) edges({end, end + kPairColumns}, false, true);
}

// Rows in a block: a multiple of those folded together.
template <class X>
RMSNORM_INLINE std::int64_t block_rows(std::int64_t hidden_size, std::int64_t together) {
  const std::int64_t fitting =
      kBlockBytes / (2 * static_cast<std::int64_t>(sizeof(X)) * hidden_size);
  const std::int64_t most = fitting < kBlockRows ? fitting : kBlockRows;
  const std::int64_t rows = most < 2 ? 2 : most;
  return rows > together ? rows / together * together : together;
}

template <class X, class W, bool kLlama, bool kDx, bool kDweight, Stores kStores>
void backward_rows(const BackwardArgs& args, Range rows, float* partial) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const std::int64_t block = block_rows<X>(hidden_size, together);
  const WeightReader<X, W> weight(args.weight, args.options);
  const Walk walk = walk_backward<X>(args);
  const Vec inverse_size = Vec::broadcast(inverse(hidden_size));
  const bool has_residual = kDx && args.dresidual_out.data != nullptr;

  for (std::int64_t first = rows.begin; first < rows.end; first += block) {
    const std::int64_t count = rows.end - first < block ? rows.end - first : block;
    BackwardRow<X, W, kStores> row[kMostRows];
    alignas(64) float rstd[kMostRows + Vec::kLanes] = {};
    alignas(64) float cbar[kMostRows + Vec::kLanes] = {};
    for (std::int64_t r = 0; r < count; r += together) {
      const std::int64_t n = count - r < together ? count - r : together;
      if (args.rstd == nullptr) {
        const Vec sums = fold_squares<X>(args.x, first + r, n, hidden_size);
        rstd_of<X>(args.x, {first + r, first + r + n}, sums, hidden_size, args.options)
            .store(rstd + r);
      } else {
        const float* const given = static_cast<const float*>(args.rstd) + first;
        for (std::int64_t i = r; i < r + n; ++i) rstd[i] = without_payload(given[i]);
      }
    }
    if constexpr (kDx) {
      const std::int64_t step = together > 1 ? together : kFoldedRows;
      for (std::int64_t r = 0; r < count; r += step) {
        const std::int64_t n = count - r < step ? count - r : step;
        fold_gradients<X, W, kLlama>(args, weight, first + r, n, cbar + r);
      }
      for (std::int64_t r = 0; r < count; r += Vec::kLanes) {
        const Vec sums = Vec::load(cbar + r);
        const Vec rstds = Vec::load(rstd + r);
        mul(mul(sums, rstds), inverse_size).store(cbar + r);
        if (!gradient_folds_stand(sums, rstds)) {
          const std::int64_t n = count - r < Vec::kLanes ? count - r : Vec::kLanes;
          rescale_cbar<X, W, kLlama>(args, {first + r, first + r + n}, sums, rstd + r, cbar + r);
        }
      }
    }
    for (std::int64_t r = 0; r < count; ++r) {
      row[r] = {{row_of<X>(args.dy, first + r)},
                {row_of<X>(args.x, first + r)},
                {kDx ? row_of<X>(args.dx, first + r) : nullptr},
                {has_residual ? row_of<X>(args.dresidual_out, first + r) : nullptr},
                rstd[r],
                cbar[r]};
    }
    backward_columns<X, W, kLlama, kDx, kDweight>(row, count, weight, walk, hidden_size, partial,
                                                  first == rows.begin);
  }
  if constexpr (kStores == Stores::kStreaming) stream_fence();
}

void backward(const BackwardArgs& args, Range rows, Stores stores, void* partial_sums) {
  if (args.dtype == DType::kFloat64) {
    return plain::backward_float64(args, rows, static_cast<double*>(partial_sums));
  }
  float* const partial = static_cast<float*>(partial_sums);
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    using X = typename decltype(x)::Type;
    using W = typename decltype(w)::Type;
    constexpr bool kLlama = llama.value;
    if (args.dx.data == nullptr) {
      backward_rows<X, W, kLlama, false, true, Stores::kCached>(args, rows, partial);
    } else if (stores == Stores::kStreaming && aligned_alike(args.dx)) {
      if (partial == nullptr) {
        backward_rows<X, W, kLlama, true, false, kStreaming<X>>(args, rows, partial);
      } else {
        backward_rows<X, W, kLlama, true, true, kStreaming<X>>(args, rows, partial);
      }
    } else if (partial == nullptr) {
      backward_rows<X, W, kLlama, true, false, Stores::kCached>(args, rows, partial);
    } else {
      backward_rows<X, W, kLlama, true, true, Stores::kCached>(args, rows, partial);
    }
  });
}

void add_partial(DType dtype, void* sum, const void* partial, std::int64_t count) {
  if (dtype == DType::kFloat64) {
    plain::add_partial(static_cast<double*>(sum), static_cast<const double*>(partial), count);
  } else {
    plain::add_partial(static_cast<float*>(sum), static_cast<const float*>(partial), count);
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

void finish_dweight(const BackwardArgs& args, const void* partial_sums, std::int64_t count,
                    Range part) {
  if (args.dtype == DType::kFloat64) {
    const double* const partials = static_cast<const double*>(partial_sums);
    return plain::finish_dweight<double>(args, partials, count, part);
  }
  const float* const partials = static_cast<const float*>(partial_sums);
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      finish_pairs<X, float>(args, partials, count, part);
    } else {
      finish_pairs<X, X>(args, partials, count, part);
    }
  });
}
