// The row arithmetic of the SIMD variants, written once against Vec: included into each variant's
// unnamed namespace, after Vec and types.inl. variant_scalar.cc says plainly what it computes.
//
// A variant provides:
//   Vec          kLanes floats: zero(), broadcast(), load(), store(); add, mul, fma(a, b, c) =
//                a * b + c, negate, sqrt, divide; all rounded to nearest even
//   Pair         two Vec {a, b}: 2 * kLanes consecutive columns of a row
//   kInterleaved<X>  the order of a Pair of X: false, a holds the first kLanes columns and b the
//                last; true, a holds the even columns and b the odd (what a bfloat16 load gives)
//   load_pair<X>, store_pair<X, NaNs>, stream_pair<X, NaNs>   a Pair of X, in X's order
//   round_pair<X, NaNs>   T(value) as floats
//   load_floats<kInterleaved>, store_floats<kInterleaved>   floats in either order
//   keep_columns<kInterleaved>(pair, count)   -0 in all but the first `count` columns
//   sum_lanes(v)     lane i of the result is the halving tree over the lanes of v[i]
//   prefetch(p), stream_fence(), kStreamAlignment, the bytes stream_pair is aligned to

static constexpr std::int64_t kPairColumns = 2 * Vec::kLanes;
static constexpr std::int64_t kPairs = kAccumulators / kPairColumns;

RMSNORM_INLINE Pair operator+(Pair x, Pair y) { return {add(x.a, y.a), add(x.b, y.b)}; }
RMSNORM_INLINE Pair operator*(Pair x, Pair y) { return {mul(x.a, y.a), mul(x.b, y.b)}; }
RMSNORM_INLINE Pair operator*(Pair x, Vec y) { return {mul(x.a, y), mul(x.b, y)}; }
RMSNORM_INLINE Pair fma(Pair x, Pair y, Pair z) { return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)}; }
RMSNORM_INLINE Pair both(Vec v) { return {v, v}; }

// The first `count` < kPairColumns elements at `source`, and zeros: a row ends where it ends, and
// nothing behind it is read.
template <class T>
struct Tail {
  alignas(64) T values[kPairColumns];

  Tail() : values{} {}
  Tail(const T* source, std::int64_t count) : values{} {
    for (std::int64_t i = 0; i < count; ++i) values[i] = source[i];
  }
  RMSNORM_INLINE void copy_to(T* destination, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) destination[i] = values[i];
  }
};

// A row of T in memory, read as Pairs in the order of X.
template <class X, class T>
struct RowReader {
  const T* data;

  RMSNORM_INLINE Pair at(std::int64_t column) const { return read(data + column); }
  RMSNORM_INLINE Pair tail(std::int64_t column, std::int64_t count) const {
    return read(Tail<T>(data + column, count).values);
  }
  RMSNORM_INLINE static Pair read(const T* source) {
    if constexpr (__is_same(X, T)) {
      return load_pair<X>(source);
    } else {
      static_assert(__is_same(T, float));
      return load_floats<kInterleaved<X>>(source);
    }
  }
};

// Writes full pairs, or the first `count` elements of one.
template <class X, NaNs kWhich, Stores kStores>
struct RowWriter {
  X* data;

  RMSNORM_INLINE void at(std::int64_t column, Pair value) const {
    if constexpr (kStores == Stores::kStreaming) {
      stream_pair<X, kWhich>(data + column, value);
    } else {
      store_pair<X, kWhich>(data + column, value);
    }
  }
  RMSNORM_INLINE void tail(std::int64_t column, std::int64_t count, Pair value) const {
    Tail<X> rest;
    store_pair<X, kWhich>(rest.values, value);
    rest.copy_to(data + column, count);
  }
};

// w = weight + offset. An offset of 0 becomes -0, the one addend that changes no weight.
template <class X, class W>
struct WeightReader {
  RowReader<X, W> weight;
  Vec offset;

  WeightReader(const Weight& source, const Options& options)
      : weight{static_cast<const W*>(source.data)},
        offset(Vec::broadcast(options.weight_offset == 0.0f ? -0.0f : options.weight_offset)) {}

  RMSNORM_INLINE Pair at(std::int64_t column) const { return weight.at(column) + both(offset); }
  RMSNORM_INLINE Pair tail(std::int64_t column, std::int64_t count) const {
    return weight.tail(column, count) + both(offset);
  }
};
template <class X>
struct WeightReader<X, NoWeight> {
  WeightReader(const Weight&, const Options&) {}
  RMSNORM_INLINE NoWeight at(std::int64_t) const { return {}; }
  RMSNORM_INLINE NoWeight tail(std::int64_t, std::int64_t) const { return {}; }
};

// A float32 weight can carry a NaN whose low bits are set; nothing else in a 16-bit row can.
template <class X, class W>
static constexpr NaNs kNaNs = __is_same(W, float) ? NaNs::kAny : NaNs::kShort;

// y before its cast: xhat * w, with T(xhat) in Llama's order.
template <class X, class W, bool kLlama, class Weights>
RMSNORM_INLINE Pair scaled(Pair xhat, Weights w) {
  if constexpr (kLlama) xhat = round_pair<X, NaNs::kShort>(xhat);
  if constexpr (__is_same(W, NoWeight)) {
    return xhat;
  } else {
    return xhat * w;
  }
}

// g = dy * w, T(dy * w) in Llama's order.
template <class X, class W, bool kLlama, class Weights>
RMSNORM_INLINE Pair weighted(Pair dy, Weights w) {
  if constexpr (__is_same(W, NoWeight)) {
    return dy;
  } else if constexpr (kLlama) {
    return round_pair<X, kNaNs<X, W>>(dy * w);
  } else {
    return dy * w;
  }
}

// The two factors of the forward fold: x and x.
template <class X>
struct SquareFactors {
  RowReader<X, X> x;

  RMSNORM_INLINE Pair step(std::int64_t column, Pair acc) const {
    const Pair value = x.at(column);
    return fma(value, value, acc);
  }
  RMSNORM_INLINE Pair tail(std::int64_t column, std::int64_t count, Pair acc) const {
    const Pair value = x.tail(column, count);
    return fma(value, value, acc);
  }
};

// The two factors of the backward fold: g and x.
template <class X, class W, bool kLlama>
struct GradientFactors {
  RowReader<X, X> dy;
  RowReader<X, X> x;
  const WeightReader<X, W>& weight;

  RMSNORM_INLINE Pair step(std::int64_t column, Pair acc) const {
    return fma(weighted<X, W, kLlama>(dy.at(column), weight.at(column)), x.at(column), acc);
  }
  // Zeros behind the row's end give products of either zero. They are added to accumulators of
  // columns before the end, which -0 leaves alone and +0 does not: so g is -0 there.
  RMSNORM_INLINE Pair tail(std::int64_t column, std::int64_t count, Pair acc) const {
    const Pair g = weighted<X, W, kLlama>(dy.tail(column, count), weight.tail(column, count));
    return fma(keep_columns<kInterleaved<X>>(g, count), x.tail(column, count), acc);
  }
};

// Folds the columns [begin, end) of one tile into a Pair, whose lanes LaneSums halves further.
template <class Factors>
RMSNORM_INLINE Pair fold_tile(const Factors& factors, std::int64_t begin, std::int64_t end) {
  Pair acc[kPairs];
  for (auto& pair : acc) pair = both(Vec::zero());
  std::int64_t column = begin;
  for (; column + kAccumulators <= end; column += kAccumulators) {
    for (std::int64_t p = 0; p < kPairs; ++p) {
      acc[p] = factors.step(column + p * kPairColumns, acc[p]);
    }
  }
  if (column < end) {
    for (std::int64_t p = 0; p < kPairs; ++p, column += kPairColumns) {
      const std::int64_t count = end - column;
      if (count >= kPairColumns) {
        acc[p] = factors.step(column, acc[p]);
      } else if (count > 0) {
        acc[p] = factors.tail(column, count, acc[p]);
      }
    }
  }
  for (std::int64_t s = kPairs / 2; s >= 1; s /= 2) {
    for (std::int64_t p = 0; p < s; ++p) acc[p] = acc[p] + acc[p + s];
  }
  return acc[0];
}

// Up to kLanes folded tiles, and then their sums: tile i's in lane i, +0 where there is none.
template <class X>
struct LaneSums {
  Vec a[Vec::kLanes];
  Vec b[Vec::kLanes];

  RMSNORM_INLINE LaneSums() {
    for (auto& vec : a) vec = Vec::zero();
    for (auto& vec : b) vec = Vec::zero();
  }
  RMSNORM_INLINE void set(std::int64_t lane, Pair tile) {
    if constexpr (kInterleaved<X>) {
      a[lane] = tile.a;
      b[lane] = tile.b;
    } else {
      a[lane] = add(tile.a, tile.b);
    }
  }
  RMSNORM_INLINE Vec sums() const {
    // Interleaved, even and odd columns are neighbours, which the halving tree adds last.
    return kInterleaved<X> ? add(sum_lanes(a), sum_lanes(b)) : sum_lanes(a);
  }
};

// A NaN that came in a caller's rstd, without bits that rounding to bfloat16 could carry over.
RMSNORM_INLINE float without_payload(float value) {
  return value == value ? value : __builtin_nanf("");
}

// How many rows are folded together, so that their few tiles fill the lanes of one Vec.
RMSNORM_INLINE std::int64_t rows_together(std::int64_t hidden_size) {
  const std::int64_t padded = bit_ceil(tile_count(hidden_size));
  return padded < Vec::kLanes ? Vec::kLanes / padded : 1;
}

// The folds of `count` rows, at most rows_together(hidden_size): sum r is left in sums[r].
// `factors_of(r)` gives the factors of row r.
template <class X, class FactorsOf>
RMSNORM_INLINE void fold_rows(std::int64_t hidden_size, std::int64_t count, float* sums,
                              const FactorsOf& factors_of) {
  const std::int64_t tiles = tile_count(hidden_size);
  const std::int64_t padded = bit_ceil(tiles);
  // Tile t of row r goes to lane t * together + r: halving the lanes then adds tiles, never rows.
  const std::int64_t together = rows_together(hidden_size);
  // Sums of the tiles first, first + stride …, kLanes at a time.
  const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t n, float* tile_sums) {
    for (std::int64_t i = 0; i < n; i += Vec::kLanes / together) {
      LaneSums<X> lanes;
      for (std::int64_t r = 0; r < count; ++r) {
        const auto factors = factors_of(r);
        for (std::int64_t lane = r; lane < Vec::kLanes; lane += together) {
          const std::int64_t tile = first + (i + lane / together) * stride;
          if (tile >= tiles) break;
          const std::int64_t begin = tile * kTileColumns;
          const std::int64_t end = begin + kTileColumns;
          lanes.set(lane, fold_tile(factors, begin, end < hidden_size ? end : hidden_size));
        }
      }
      lanes.sums().store(tile_sums + i);
    }
  };

  alignas(64) float buffer[kBufferedTiles];
  if (padded > Vec::kLanes) {
    sums[0] = sum_tiles(padded, 0, 1, buffer, fill);
    return;
  }
  fill(0, 1, padded, buffer);
  for (std::int64_t s = Vec::kLanes / 2; s >= together; s /= 2) {
    for (std::int64_t i = 0; i < s; ++i) buffer[i] += buffer[i + s];
  }
  for (std::int64_t r = 0; r < together; ++r) sums[r] = buffer[r];
}

// The folds of backward and of forward, as functions of their own: they are long, and many kernels
// share them.
template <class X>
[[gnu::noinline]] void fold_squares(const ConstRows& x, std::int64_t row, std::int64_t count,
                                    std::int64_t hidden_size, float* sums) {
  fold_rows<X>(hidden_size, count, sums,
               [&](std::int64_t r) { return SquareFactors<X>{{row_of<X>(x, row + r)}}; });
}

template <class X, class W, bool kLlama>
[[gnu::noinline]] void fold_gradients(const BackwardArgs& args, const WeightReader<X, W>& weight,
                                      std::int64_t row, std::int64_t count, float* sums) {
  fold_rows<X>(args.shape.hidden_size, count, sums, [&](std::int64_t r) {
    return GradientFactors<X, W, kLlama>{
        {row_of<X>(args.dy, row + r)}, {row_of<X>(args.x, row + r)}, weight};
  });
}

// rstd of the rows whose folds are the lanes of `sum`.
RMSNORM_INLINE Vec rstd_of(Vec sum, std::int64_t hidden_size, float eps) {
  const Vec mean = mul(sum, Vec::broadcast(inverse(hidden_size)));
  return divide(Vec::broadcast(1.0f), sqrt(add(mean, Vec::broadcast(eps))));
}

// Whether every row of a matrix can take streaming stores.
template <class X>
RMSNORM_INLINE bool can_stream_rows(const Rows& rows, Stores stores) {
  const auto address = reinterpret_cast<std::uintptr_t>(rows.data);
  const auto row_bytes = static_cast<std::uintptr_t>(rows.row_stride) * sizeof(X);
  return stores == Stores::kStreaming && (address | row_bytes) % kStreamAlignment == 0;
}

// y of one row. Cached, its columns are taken backwards, so that those of x the fold has read last
// are read first, while the nearest cache still holds them.
template <class X, class W, bool kLlama, Stores kStores>
RMSNORM_INLINE void scale_row(RowReader<X, X> x, const WeightReader<X, W>& weight, float rstd,
                              RowWriter<X, kNaNs<X, W>, kStores> y, const X* next,
                              std::int64_t hidden_size) {
  const Vec scale = Vec::broadcast(rstd);
  const std::int64_t whole = hidden_size / kPairColumns * kPairColumns;
  if (const std::int64_t rest = hidden_size - whole; rest > 0) {
    const Pair xhat = x.tail(whole, rest) * scale;
    y.tail(whole, rest, scaled<X, W, kLlama>(xhat, weight.tail(whole, rest)));
  }
  for (std::int64_t i = 0; i < whole; i += kPairColumns) {
    const std::int64_t j = kStores == Stores::kCached ? whole - kPairColumns - i : i;
    if (kStores == Stores::kStreaming) prefetch(next + j);
    y.at(j, scaled<X, W, kLlama>(x.at(j) * scale, weight.at(j)));
  }
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
  if (kStores == Stores::kStreaming) stream_fence();
}

// Rows whose dx and dweight are computed together, so that a partial sum is loaded and stored once
// for all of them.
static constexpr std::int64_t kBackwardRows = 4;

// One row of backward: what its columns need besides dy, x and w.
template <class X, class W, Stores kStores>
struct BackwardRow {
  RowReader<X, X> dy;
  RowReader<X, X> x;
  RowWriter<X, kNaNs<X, W>, kStores> dx;
  float rstd;
  float cbar;
};

template <class X, class W, bool kLlama, bool kDx, bool kDweight, Stores kStores>
struct BackwardColumns {
  // dx of one Pair of columns; acc gains dy * xhat.
  template <class Weights>
  RMSNORM_INLINE static Pair step(Pair dy, Pair x, Weights w, const BackwardRow<X, W, kStores>& row,
                                  Pair& acc) {
    const Vec rstd = Vec::broadcast(row.rstd);
    const Pair xhat = x * rstd;
    if constexpr (kDweight) {
      if constexpr (kLlama) {
        acc = fma(dy, round_pair<X, NaNs::kShort>(xhat), acc);
      } else {
        acc = fma(dy, xhat, acc);
      }
    }
    if constexpr (kDx) {
      const Pair minus_cbar = both(Vec::broadcast(-row.cbar));
      return fma(xhat, minus_cbar, weighted<X, W, kLlama>(dy, w)) * rstd;
    } else {
      return xhat;
    }
  }
};

template <class X, class W, bool kLlama, bool kDx, bool kDweight, Stores kStores>
void backward_rows(const BackwardArgs& args, Range rows, float* partial) {
  using Columns = BackwardColumns<X, W, kLlama, kDx, kDweight, kStores>;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const WeightReader<X, W> weight(args.weight, args.options);
  const Vec inverse_size = Vec::broadcast(inverse(hidden_size));
  const std::int64_t block = together > kBackwardRows ? together : kBackwardRows;

  for (std::int64_t first = rows.begin; first < rows.end; first += block) {
    const std::int64_t count = rows.end - first < block ? rows.end - first : block;
    BackwardRow<X, W, kStores> row[kBackwardRows > Vec::kLanes ? kBackwardRows : Vec::kLanes];
    for (std::int64_t begin = 0; begin < count; begin += together) {
      const std::int64_t n = count - begin < together ? count - begin : together;
      alignas(64) float rstd[Vec::kLanes] = {};
      alignas(64) float cbar[Vec::kLanes] = {};
      if (args.rstd == nullptr) {
        fold_squares<X>(args.x, first + begin, n, hidden_size, rstd);
        rstd_of(Vec::load(rstd), hidden_size, args.options.eps).store(rstd);
      } else {
        for (std::int64_t r = 0; r < n; ++r)
          rstd[r] = without_payload(args.rstd[first + begin + r]);
      }
      if constexpr (kDx) {
        fold_gradients<X, W, kLlama>(args, weight, first + begin, n, cbar);
        mul(mul(Vec::load(cbar), Vec::load(rstd)), inverse_size).store(cbar);
      }
      for (std::int64_t r = 0; r < n; ++r) {
        const std::int64_t index = first + begin + r;
        row[begin + r] = {{row_of<X>(args.dy, index)},
                          {row_of<X>(args.x, index)},
                          {kDx ? row_of<X>(args.dx, index) : nullptr},
                          rstd[r],
                          kDx ? cbar[r] : 0.0f};
      }
    }

    const bool fresh = first == rows.begin;
    const auto load_partial = [&](std::int64_t j) {
      if (!kDweight || fresh) return both(Vec::zero());
      return Pair{Vec::load(partial + j), Vec::load(partial + j + Vec::kLanes)};
    };
    const auto store_partial = [&](std::int64_t j, Pair acc) {
      if (!kDweight) return;
      acc.a.store(partial + j);
      acc.b.store(partial + j + Vec::kLanes);
    };
    std::int64_t j = 0;
    for (; j + kPairColumns <= hidden_size; j += kPairColumns) {
      const auto w = weight.at(j);
      Pair acc = load_partial(j);
      for (std::int64_t r = 0; r < count; ++r) {
        const Pair dx = Columns::step(row[r].dy.at(j), row[r].x.at(j), w, row[r], acc);
        if (kDx) row[r].dx.at(j, dx);
      }
      store_partial(j, acc);
    }
    if (const std::int64_t rest = hidden_size - j; rest > 0) {
      const auto w = weight.tail(j, rest);
      Pair acc = load_partial(j);
      for (std::int64_t r = 0; r < count; ++r) {
        const Pair dx =
            Columns::step(row[r].dy.tail(j, rest), row[r].x.tail(j, rest), w, row[r], acc);
        if (kDx) row[r].dx.tail(j, rest, dx);
      }
      store_partial(j, acc);
    }
  }
  if (kDx && kStores == Stores::kStreaming) stream_fence();
}

void forward(const ForwardArgs& args, Range rows, Stores stores) {
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    using X = typename decltype(x)::Type;
    using W = typename decltype(w)::Type;
    if (can_stream_rows<X>(args.y, stores)) {
      forward_rows<X, W, llama.value, Stores::kStreaming>(args, rows);
    } else {
      forward_rows<X, W, llama.value, Stores::kCached>(args, rows);
    }
  });
}

void backward(const BackwardArgs& args, Range rows, Stores stores, float* partial) {
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    using X = typename decltype(x)::Type;
    using W = typename decltype(w)::Type;
    constexpr bool kLlama = llama.value;
    if (args.dx.data == nullptr) {
      backward_rows<X, W, kLlama, false, true, Stores::kCached>(args, rows, partial);
    } else if (can_stream_rows<X>(args.dx, stores)) {
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

template <class T, bool kOrder>
void finish_columns(const BackwardArgs& args, const float* partials, std::int64_t count,
                    Range columns) {
  const std::int64_t stride = partial_stride(args.shape.hidden_size);
  const auto sum_at = [&](std::int64_t j) {
    return count == 0 ? both(Vec::zero()) : tree_sum(partials + j, count, stride);
  };
  const auto finish = [&](T* dweight, Pair sum) {
    if constexpr (__is_same(T, float)) {
      if (args.accumulate) sum = load_floats<kOrder>(dweight) + sum;
      store_floats<kOrder>(dweight, sum);
    } else {
      static_assert(kInterleaved<T> == kOrder);
      if (args.accumulate) sum = load_pair<T>(dweight) + sum;
      store_pair<T, NaNs::kAny>(dweight, sum);
    }
  };
  T* dweight = static_cast<T*>(args.dweight);
  std::int64_t j = columns.begin;
  for (; j + kPairColumns <= columns.end; j += kPairColumns) finish(dweight + j, sum_at(j));
  if (const std::int64_t rest = columns.end - j; rest > 0) {
    Tail<T> tail(dweight + j, rest);
    finish(tail.values, sum_at(j));
    tail.copy_to(dweight + j, rest);
  }
}

void finish_dweight(const BackwardArgs& args, const float* partials, std::int64_t count,
                    Range columns) {
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      finish_columns<float, kInterleaved<X>>(args, partials, count, columns);
    } else {
      finish_columns<X, kInterleaved<X>>(args, partials, count, columns);
    }
  });
}

void convert(DType from, const void* source, DType to, void* destination, std::int64_t count) {
  with_dtype(from, [&](auto from_tag) {
    using From = typename decltype(from_tag)::Type;
    with_dtype(to, [&](auto to_tag) {
      using To = typename decltype(to_tag)::Type;
      const auto step = [](const From* in, To* out) {
        if constexpr (__is_same(To, float)) {
          store_floats<kInterleaved<From>>(out, load_pair<From>(in));
        } else if constexpr (__is_same(From, float)) {
          store_pair<To, NaNs::kAny>(out, load_floats<kInterleaved<To>>(in));
        } else {
          float wide[kPairColumns];
          store_floats<kInterleaved<From>>(wide, load_pair<From>(in));
          store_pair<To, NaNs::kAny>(out, load_floats<kInterleaved<To>>(wide));
        }
      };
      const From* in = static_cast<const From*>(source);
      To* out = static_cast<To*>(destination);
      std::int64_t i = 0;
      for (; i + kPairColumns <= count; i += kPairColumns) step(in + i, out + i);
      if (const std::int64_t rest = count - i; rest > 0) {
        const Tail<From> tail(in + i, rest);
        Tail<To> converted;
        step(tail.values, converted.values);
        converted.copy_to(out + i, rest);
      }
    });
  });
}
