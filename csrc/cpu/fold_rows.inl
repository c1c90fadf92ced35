// The fold of fold.h over rows. Included by row_kernels.inl.

// The two factors of the forward fold: x and x.
template <class X>
struct SquareFactors {
  static constexpr bool kFromLines = kMasks<X>;
  RowReader<X, X> x;

  RMSNORM_INLINE Pair step(std::int64_t column, Pair acc) const {
    const Pair value = x.at(column);
    return fma(value, value, acc);
  }
  RMSNORM_INLINE Pair part(std::int64_t column, std::int64_t begin, std::int64_t end,
                           Pair acc) const {
    const Pair value = x.part(column, begin, end);
    return fma(value, value, acc);
  }
};

// The two factors of the backward fold: g and x.
template <class X, class W, bool kLlama>
struct GradientFactors {
  static constexpr bool kFromLines = kMasks<X>;
  RowReader<X, X> dy;
  RowReader<X, X> x;
  const WeightReader<X, W>& weight;

  RMSNORM_INLINE Pair step(std::int64_t column, Pair acc) const {
    return fma(weighted<X, W, kLlama>(dy.at(column), weight.at(column)), x.at(column), acc);
  }
  // Zeros in place of columns that are not of the row, or of the tile, give products of either
  // zero. They are added to accumulators of other columns, which -0 leaves alone and +0 does not:
  // so g is -0 there.
  RMSNORM_INLINE Pair part(std::int64_t column, std::int64_t begin, std::int64_t end,
                           Pair acc) const {
    const Pair g =
        weighted<X, W, kLlama>(dy.part(column, begin, end), weight.part(column, begin, end));
    return fma(keep_columns<kInterleaved<X>>(g, begin, end), x.part(column, begin, end), acc);
  }
};

// Folds the first `count` columns of a tile that begins at `begin` into a Pair, whose lanes
// LaneSums halves further.
template <class Factors>
RMSNORM_INLINE Pair fold_tile(const Factors& factors, std::int64_t begin, std::int64_t count) {
  Pair acc[kPairs];
  for (auto& pair : acc) pair = both(Vec::zero());
  const auto steps = [&](std::int64_t first) {
    for (std::int64_t p = 0; p < kPairs; ++p) {
      acc[p] = factors.step(begin + first + p * kPairColumns, acc[p]);
    }
  };
  if (count >= kTileColumns && Factors::kFromLines) {
    const std::int64_t behind = factors.x.behind_line(begin);
    const std::int64_t lines = begin - behind;
    acc[0] = factors.part(lines, behind, kPairColumns, acc[0]);
    for (std::int64_t i = 1; i < kTileColumns / kPairColumns; ++i) {
      acc[i % kPairs] = factors.step(lines + i * kPairColumns, acc[i % kPairs]);
    }
    if (behind > 0) acc[0] = factors.part(lines + kTileColumns, 0, behind, acc[0]);
  } else if (count >= kTileColumns) {
    for (std::int64_t first = 0; first < kTileColumns; first += kAccumulators) steps(first);
  } else {
    std::int64_t column = 0;
    for (; column + kAccumulators <= count; column += kAccumulators) steps(column);
    if (column < count) {
      for (std::int64_t p = 0; p < kPairs; ++p, column += kPairColumns) {
        const std::int64_t rest = count - column;
        if (rest >= kPairColumns) {
          acc[p] = factors.step(begin + column, acc[p]);
        } else if (rest > 0) {
          acc[p] = factors.part(begin + column, 0, rest, acc[p]);
        }
      }
    }
  }
  for (std::int64_t s = kPairs / 2; s >= 1; s /= 2) {
    for (std::int64_t p = 0; p < s; ++p) acc[p] = acc[p] + acc[p + s];
  }
  return acc[0];
}

// kLanes folded tiles, and then their sums: tile i's in lane i. Interleaved, even and odd columns
// are neighbours, which the halving tree adds last. Every lane is set once: zeroing them all before
// takes longer than folding a short row.
template <class X>
struct LaneSums {
  Vec a[Vec::kLanes];
  Vec b[kInterleaved<X> ? Vec::kLanes : 1];

  RMSNORM_INLINE void set(std::int64_t lane, Pair tile) {
    if constexpr (kInterleaved<X>) {
      a[lane] = tile.a;
      b[lane] = tile.b;
    } else {
      a[lane] = add(tile.a, tile.b);
    }
  }
  RMSNORM_INLINE Vec sums() const {
    if constexpr (kInterleaved<X>) return add(sum_lanes(a), sum_lanes(b));
    return sum_lanes(a);
  }
  // Of one tile alone, in lane 0.
  RMSNORM_INLINE static Vec sum(Pair tile) {
    if constexpr (kInterleaved<X>) return add(halve_lanes(tile.a, 1), halve_lanes(tile.b, 1));
    return halve_lanes(add(tile.a, tile.b), 1);
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

// Folds row r of as many as are folded together into the lanes of `lanes`. Tile t goes to lane t *
// together + r: halving the lanes then adds tiles, never rows.
template <class X, class Factors>
RMSNORM_INLINE void fold_row(LaneSums<X>& lanes, std::int64_t r, std::int64_t together,
                             std::int64_t hidden_size, const Factors& factors) {
  std::int64_t begin = 0;
  for (std::int64_t lane = r; lane < Vec::kLanes; lane += together, begin += kTileColumns) {
    const bool exists = begin < hidden_size;
    lanes.set(lane, exists ? fold_tile(factors, begin, hidden_size - begin) : both(Vec::zero()));
  }
}

// The folds of `count` rows, at most rows_together(hidden_size): row r's in lane r.
// `factors_of(r)` gives the factors of row r.
template <class X, class FactorsOf>
RMSNORM_INLINE Vec fold_rows(std::int64_t hidden_size, std::int64_t count,
                             const FactorsOf& factors_of) {
  const std::int64_t tiles = tile_count(hidden_size);
  const std::int64_t padded = bit_ceil(tiles);
  if (tiles == 1 && count == 1) return LaneSums<X>::sum(fold_tile(factors_of(0), 0, hidden_size));
  if (padded <= Vec::kLanes) {
    const std::int64_t together = rows_together(hidden_size);
    LaneSums<X> lanes;
    for (std::int64_t r = 0; r < together; ++r) {
      fold_row(lanes, r, together, r < count ? hidden_size : 0, factors_of(r < count ? r : 0));
    }
    return halve_lanes(lanes.sums(), together);
  }
  const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t n, float* tile_sums) {
    const auto factors = factors_of(0);
    for (std::int64_t i = 0; i < n; i += Vec::kLanes) {
      LaneSums<X> lanes;
      for (std::int64_t lane = 0; lane < Vec::kLanes; ++lane) {
        const std::int64_t begin = (first + (i + lane) * stride) * kTileColumns;
        const bool exists = begin < hidden_size;
        lanes.set(lane,
                  exists ? fold_tile(factors, begin, hidden_size - begin) : both(Vec::zero()));
      }
      lanes.sums().store(tile_sums + i);
    }
  };
  alignas(64) float buffer[kBufferedTiles];
  return Vec::broadcast(sum_tiles(padded, 0, 1, buffer, fill));
}

// The folds of backward and of forward, as functions of their own: they are long, and many kernels
// share them.
template <class X>
[[gnu::noinline]] Vec fold_squares(const ConstRows& x, std::int64_t row, std::int64_t count,
                                   std::int64_t hidden_size) {
  return fold_rows<X>(hidden_size, count,
                      [&](std::int64_t r) { return SquareFactors<X>{{row_of<X>(x, row + r)}}; });
}

// Long rows that are folded side by side, tile by tile, so that weights come once for all of them
// from the second cache.
static constexpr std::int64_t kFoldedRows = 4;

// Row r's fold is left in sums[r], of count + kLanes floats.
template <class X, class W, bool kLlama>
[[gnu::noinline]] void fold_gradients(const BackwardArgs& args, const WeightReader<X, W>& weight,
                                      std::int64_t row, std::int64_t count, float* sums) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t tiles = tile_count(hidden_size);
  const auto factors_of = [&](std::int64_t r) {
    return GradientFactors<X, W, kLlama>{
        {row_of<X>(args.dy, row + r)}, {row_of<X>(args.x, row + r)}, weight};
  };
  if (rows_together(hidden_size) > 1) {
    fold_rows<X>(hidden_size, count, factors_of).store(sums);
  } else if (tiles > Vec::kLanes) {
    for (std::int64_t r = 0; r < count; ++r) {
      fold_rows<X>(hidden_size, 1, [&](std::int64_t) { return factors_of(r); }).store(sums + r);
    }
  } else {
    LaneSums<X> lanes[kFoldedRows];
    for (std::int64_t lane = 0; lane < Vec::kLanes; ++lane) {
      const std::int64_t begin = lane * kTileColumns;
      for (std::int64_t r = 0; r < count; ++r) {
        lanes[r].set(lane, begin < hidden_size
                               ? fold_tile(factors_of(r), begin, hidden_size - begin)
                               : both(Vec::zero()));
      }
    }
    for (std::int64_t r = 0; r < count; ++r) halve_lanes(lanes[r].sums(), 1).store(sums + r);
  }
}
