// Row sums: the fold of fold.h.
#pragma once

#include "../../op/formula.h"
#include "../simd/min_abs.h"
#include "reference_rows.h"
#include "weights.h"

namespace rmsnorm::cpu {
namespace {

// How many long rows are summed side by side, tile by tile. They share one read of the weights from
// the second-level cache.
static constexpr std::int64_t kFoldedRows = 4;
static_assert(kFoldedRows <= Vec::kLanes);

// The factors of forward's row sum, x and x, from some column of a row on. step() adds the products
// of a VecPair of columns to its accumulators. masked_step() adds only the products of its columns
// [begin, end).
template <class X, class Loader>
struct SquareFactors {
  static constexpr bool kLineAligned = kMasks<X>;  // whole tiles are read by fold_lines
  static constexpr std::int64_t kSideBySide = 1;
  const X* x;
  Loader* loader;

  RMSNORM_INLINE SquareFactors from(std::int64_t column) const { return {x + column, loader}; }
  RMSNORM_INLINE VecPair step(std::int64_t column, VecPair acc) const {
    const VecPair value = loader->at(x + column);
    return fma(value, value, acc);
  }
  RMSNORM_INLINE VecPair masked_step(std::int64_t column, std::int64_t begin, std::int64_t end,
                                     VecPair acc) const {
    const VecPair value = loader->masked(x + column, begin, end);
    return fma(value, value, acc);
  }
};

// The factors of backward's row sum, g and x. `column` is the column where x, dy and w begin.
template <class X, bool kWeighted, bool kLlama>
struct GradientFactors {
  static constexpr bool kLineAligned = kMasks<X>;
  static constexpr std::int64_t kSideBySide = kFoldedRows;
  const X* x;
  const X* dy;
  const Weights<X>* weights;
  std::int64_t column;
  WeightPairs<X> w;

  RMSNORM_INLINE GradientFactors from(std::int64_t j) const {
    return {x + j, dy + j, weights, j, kWeighted ? weights->from(j) : WeightPairs<X>{}};
  }
  RMSNORM_INLINE VecPair step(std::int64_t j, VecPair acc) const {
    VecPair g = load_pair<X>(dy + j);
    if constexpr (kWeighted) g = g_of(g, w.at(j), round);
    return fma(g, load_pair<X>(x + j), acc);
  }
  // Columns outside the row or the tile add zeros, because dy and x are 0 there. w is a finite
  // number there or another weight of the row. If that weight is not finite, the row sum is not
  // finite anyway.
  RMSNORM_INLINE VecPair masked_step(std::int64_t j, std::int64_t begin, std::int64_t end,
                                     VecPair acc) const {
    VecPair g = load_masked<X>(dy + j, begin, end);
    if constexpr (kWeighted) g = g_of(g, weights->masked(column + j, begin, end), round);
    return fma(g, load_masked<X>(x + j, begin, end), acc);
  }

 private:
  static constexpr Rounding<X, kLlama, Floats::kQuietNaN> round{};
};

// How many elements lie between the start of the element's cache line and the element.
template <class X>
RMSNORM_INLINE std::int64_t offset_in_line(const X* element) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(element) % 64 / sizeof(X));
}

// The halving tree over the VecPairs of all accumulators, down to one VecPair.
template <std::int64_t kCount = kPairs>
RMSNORM_INLINE VecPair sum_pairs(VecPair (&acc)[kPairs]) {
  if constexpr (kCount > 1) {
    constexpr std::int64_t kHalf = kCount / 2;
    unrolled<kHalf>([&](auto p) { acc[p.value] = acc[p.value] + acc[p.value + kHalf]; });
    return sum_pairs<kHalf>(acc);
  } else {
    return acc[0];
  }
}

// Adds one column to every accumulator: the kAccumulators columns from column j on.
template <class Factors>
RMSNORM_INLINE void fold_step(const Factors& factors, std::int64_t j, VecPair (&acc)[kPairs]) {
  unrolled<kPairs>(
      [&](auto p) { acc[p.value] = factors.step(j + p.value * kPairColumns, acc[p.value]); });
}

// Sums a whole tile, reading from the start of the cache line that the tile begins in, so that no
// load crosses a cache line. This rotates the accumulators by `line_offset`. The bits of the sum
// stay the same, because the halving tree still adds the same pairs.
template <class Factors>
RMSNORM_INLINE VecPair fold_lines(const Factors& row, std::int64_t begin) {
  VecPair acc[kPairs];
  const std::int64_t line_offset = offset_in_line(row.x + begin);
  const Factors factors = row.from(begin - line_offset);
  acc[0] = factors.masked_step(0, line_offset, kPairColumns, zero_pair());
  unrolled<kPairs, 1>(
      [&](auto p) { acc[p.value] = factors.step(p.value * kPairColumns, zero_pair()); });
  for (std::int64_t j = kAccumulators; j < kTileColumns; j += kAccumulators) {
    fold_step(factors, j, acc);
  }
  if (line_offset > 0) acc[0] = factors.masked_step(kTileColumns, 0, line_offset, acc[0]);
  return sum_pairs(acc);
}

// Sums the first `count` columns of a tile in registers, or the whole tile if `count` is larger.
// The result is a VecPair whose lanes are still to be summed (LaneSums).
template <class Factors>
RMSNORM_INLINE VecPair fold_tile(const Factors& row, std::int64_t begin, std::int64_t count) {
  if constexpr (Factors::kLineAligned) {
    if (count >= kTileColumns) return fold_lines(row, begin);
  } else if (count > kTileColumns) {
    count = kTileColumns;
  }
  VecPair acc[kPairs];
  unrolled<kPairs>([&](auto p) { acc[p.value] = zero_pair(); });
  const Factors factors = row.from(begin);
  std::int64_t j = 0;
  for (; j + kAccumulators <= count; j += kAccumulators) fold_step(factors, j, acc);
  if (j == count) return sum_pairs(acc);
  // The last columns, fewer than a VecPair, belong to the VecPair of accumulators with the index
  // `last`.
  const std::int64_t last = (count - j) / kPairColumns;
  const std::int64_t rest = (count - j) % kPairColumns;
  VecPair masked = acc[0];
  unrolled<kPairs>([&](auto p) {
    if (p.value < last) acc[p.value] = factors.step(j + p.value * kPairColumns, acc[p.value]);
    if (p.value == last) masked = acc[p.value];
  });
  if (rest == 0) return sum_pairs(acc);
  masked = factors.masked_step(j + last * kPairColumns, 0, rest, masked);
  unrolled<kPairs>([&](auto p) {
    if (p.value == last) acc[p.value] = masked;
  });
  return sum_pairs(acc);
}

// The last steps of the tile sums of up to kLanes tiles. set() takes the VecPair that fold_tile
// made of a tile; sums() returns the tile sum of tile i in lane i. If X is interleaved, a and b
// hold even and odd columns. These are neighbours, which the halving tree adds last. Callers set
// every lane once: zeroing all lanes first would take longer than summing a short row.
template <class X>
struct LaneSums {
  Vec a[Vec::kLanes];
  Vec b[kInterleaved<X> ? Vec::kLanes : 1];

  RMSNORM_INLINE void set(std::int64_t lane, VecPair tile) {
    if constexpr (kInterleaved<X>) {
      a[lane] = tile.a;
      b[lane] = tile.b;
    } else {
      a[lane] = tile.a + tile.b;
    }
  }
  RMSNORM_INLINE Vec sums() const {
    if constexpr (kInterleaved<X>) return sum_lanes(a) + sum_lanes(b);
    return sum_lanes(a);
  }
  // The sum of lane 0's tile alone, in every lane.
  RMSNORM_INLINE Vec first() const {
    if constexpr (kInterleaved<X>) return halve_lanes(a[0], 1) + halve_lanes(b[0], 1);
    return halve_lanes(a[0], 1);
  }
};

// How many short rows are summed together, so that their tiles fill the lanes of one Vec; 1 for
// long rows.
RMSNORM_INLINE std::int64_t rows_together(std::int64_t hidden_size) {
  const std::int64_t padded = bit_ceil(tile_count(hidden_size));
  return padded < Vec::kLanes ? Vec::kLanes / padded : 1;
}

// Sums the tiles of a row at the columns begin, begin + stride … into the lanes first, first + step
// … of `lanes`. Tiles beyond the row give +0. Every call inlines long code.
template <class X, class Factors>
RMSNORM_INLINE void fold_tiles(LaneSums<X>& lanes, std::int64_t first, std::int64_t step,
                               std::int64_t hidden_size, const Factors& factors,
                               std::int64_t begin = 0, std::int64_t stride = kTileColumns) {
  for (std::int64_t lane = first; lane < Vec::kLanes; lane += step, begin += stride) {
    const bool exists = begin < hidden_size;
    lanes.set(lane, exists ? fold_tile(factors, begin, hidden_size - begin) : zero_pair());
  }
}

// The maximum number of groups of kLanes tiles in a row, if fold_group sums rows side by side.
static constexpr std::int64_t kMaxGroups = 8;

// Computes the row sums of `count` rows of at most kLanes tiles. `together` rows share the lanes of
// one Vec: tile t of row r goes to lane t * together + r, so that halving the lanes adds tiles,
// never rows. If `together` is 1 and kSideBySide is more, up to kSideBySide rows are summed side by
// side. Each then has Vecs of its own and at most kMaxGroups * kLanes tiles. The sum of row r is
// written to sums[r]; `sums` has count + kLanes floats. `factors_of(r)` gives the factors of row r.
template <class X, class FactorsOf>
[[gnu::noinline]] void fold_group(std::int64_t hidden_size, std::int64_t count,
                                  std::int64_t together, const FactorsOf& factors_of, float* sums) {
  constexpr std::int64_t kSideBySide = decltype(factors_of(0))::kSideBySide;
  LaneSums<X> lanes[kSideBySide];
  if (kSideBySide == 1 || together > 1) {
    const bool is_one_tile = count == 1 && hidden_size <= kTileColumns;
    for (std::int64_t r = 0; r < (is_one_tile ? 1 : together); ++r) {
      fold_tiles(lanes[0], r, together, r < count ? hidden_size : 0, factors_of(r < count ? r : 0));
    }
    if (is_one_tile) return lanes[0].first().store(sums);
    return halve_lanes(lanes[0].sums(), together).store(sums);
  }
  Vec group_sums[kSideBySide][kMaxGroups];
  const std::int64_t groups = bit_ceil(tile_count(hidden_size)) / Vec::kLanes;
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t lane = 0; lane < Vec::kLanes; ++lane) {
      const std::int64_t begin = (group * Vec::kLanes + lane) * kTileColumns;
      for (std::int64_t r = 0; r < count; ++r) {
        fold_tiles(lanes[r], lane, Vec::kLanes, hidden_size, factors_of(r), begin);
      }
    }
    for (std::int64_t r = 0; r < count; ++r) group_sums[r][group] = lanes[r].sums();
  }
  for (std::int64_t r = 0; r < count; ++r) {
    Vec* const sum = group_sums[r];
    for (std::int64_t s = groups / 2; s >= 1; s /= 2) {
      for (std::int64_t i = 0; i < s; ++i) sum[i] = sum[i] + sum[i + s];
    }
    halve_lanes(sum[0], 1).store(sums + r);
  }
}

// Computes the row sums of `count` rows. `count` is at most rows_together, or kSideBySide if
// rows_together is 1. The sum of row r is written to sums[r]; `sums` has count + kLanes floats.
template <class X, class FactorsOf>
RMSNORM_INLINE void fold_rows(std::int64_t hidden_size, std::int64_t count,
                              const FactorsOf& factors_of, float* sums) {
  constexpr std::int64_t kGroups = decltype(factors_of(0))::kSideBySide == 1 ? 1 : kMaxGroups;
  const std::int64_t tiles = tile_count(hidden_size);
  if (tiles <= kGroups * Vec::kLanes) {
    return fold_group<X>(hidden_size, count, rows_together(hidden_size), factors_of, sums);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t n, float* out) {
      const auto factors = factors_of(r);
      for (std::int64_t i = 0; i < n; i += Vec::kLanes) {
        LaneSums<X> lanes;
        fold_tiles(lanes, 0, 1, hidden_size, factors, (first + i * stride) * kTileColumns,
                   stride * kTileColumns);
        lanes.sums().store(out + i);
      }
    };
    sums[r] = reference::sum_tiles_of<float>(tiles, fill);
  }
}

// The row sums of forward (fold_squares) and of backward (fold_gradients). These functions are not
// inlined, because their code is long and many kernels share it.
template <class X>
[[gnu::noinline]] void fold_squares(const ConstRows& x, std::int64_t row, std::int64_t count,
                                    std::int64_t hidden_size, MinAbs<X>& min_abs, float* sums) {
  const auto factors_of = [&](std::int64_t r) {
    return SquareFactors<X, MinAbs<X>>{row_of<X>(x, row + r), &min_abs};
  };
  fold_rows<X>(hidden_size, count, factors_of, sums);
}

template <class X, bool kWeighted, bool kLlama>
[[gnu::noinline]] void fold_gradients(const BackwardArgs& args, const Weights<X>& weights,
                                      std::int64_t row, std::int64_t count, float* sums) {
  const auto factors_of = [&](std::int64_t r) {
    return GradientFactors<X, kWeighted, kLlama>{
        row_of<X>(args.x, row + r), row_of<X>(args.dy, row + r), &weights, 0, {}};
  };
  fold_rows<X>(args.shape.hidden_size, count, factors_of, sums);
}

}  // namespace
}  // namespace rmsnorm::cpu
