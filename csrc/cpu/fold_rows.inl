// The fold of fold.h over rows. Included by row_kernels.inl.

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
  Vec b[kInterleaved<X> ? Vec::kLanes : 1];

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
    if constexpr (kInterleaved<X>) return add(sum_lanes(a), sum_lanes(b));
    return sum_lanes(a);
  }
};

// A NaN that came in a caller's rstd, without bits that rounding to bfloat16 could carry over.
RMSNORM_INLINE float without_payload(float value) {
  return value == value ? value : __builtin_nanf("");
}

// How many rows are folded together, so that their few tiles fill the lanes of one Vec.
RMSNORM_INLINE std::int64_t rows_together(std::int64_t hidden_size) {
  const std::int64_t tiles = tile_count(hidden_size);
  std::int64_t together = Vec::kLanes;
  for (std::int64_t padded = 1; padded < tiles && together > 1; padded *= 2) together /= 2;
  return together;
}

// The folds of `count` rows, at most rows_together(hidden_size): sum r is left in sums[r], of
// kLanes floats.
// `factors_of(r)` gives the factors of row r.
template <class X, class FactorsOf>
RMSNORM_INLINE void fold_rows(std::int64_t hidden_size, std::int64_t count, float* sums,
                              const FactorsOf& factors_of) {
  const std::int64_t tiles = tile_count(hidden_size);
  const std::int64_t padded = bit_ceil(tiles);
  // Tile t of row r goes to lane t * together + r: halving the lanes then adds tiles, never rows.
  const std::int64_t together = rows_together(hidden_size);
  const auto fold_lanes = [&](std::int64_t first, std::int64_t stride) {
    LaneSums<X> lanes;
    for (std::int64_t r = 0; r < count; ++r) {
      const auto factors = factors_of(r);
      std::int64_t tile = first;
      for (std::int64_t lane = r; lane < Vec::kLanes && tile < tiles; lane += together) {
        const std::int64_t begin = tile * kTileColumns;
        const std::int64_t end = begin + kTileColumns;
        lanes.set(lane, fold_tile(factors, begin, end < hidden_size ? end : hidden_size));
        tile += stride;
      }
    }
    return lanes.sums();
  };

  if (padded <= Vec::kLanes) {
    fold_lanes(0, 1).store(sums);
    for (std::int64_t s = Vec::kLanes / 2; s >= together; s /= 2) {
      for (std::int64_t i = 0; i < s; ++i) sums[i] += sums[i + s];
    }
    return;
  }
  const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t n, float* tile_sums) {
    for (std::int64_t i = 0; i < n; i += Vec::kLanes) {
      fold_lanes(first + i * stride, stride).store(tile_sums + i);
    }
  };
  alignas(64) float buffer[kBufferedTiles];
  sums[0] = sum_tiles(padded, 0, 1, buffer, fill);
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
