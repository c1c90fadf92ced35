// The folds of gated rows (fold.h). A tile's factors are written to memory first, as float32 in the
// order of columns: so one fold serves all types and orders, and what a gate costs in code is there
// once. The nearest cache has them when they are folded.
#pragma once

#include "../simd/silu_vectors.h"
#include "fold_rows.h"

namespace rmsnorm::cpu {
namespace {

// Writes the factors of a row's tile, which begins at a column, and says where the first ones are.
// In the last VecPair those of columns that do not exist are 0.
using FillTile = FunctionRef<const float*(std::int64_t row, std::int64_t begin)>;

struct TileFactors {
  static constexpr bool kFromLines = false;
  static constexpr std::int64_t kSideBySide = kFoldedRows;
  FillTile fill;
  std::int64_t row;
  std::int64_t distance;  // of the second factors from the first
  const float* factors = nullptr;

  RMSNORM_INLINE TileFactors from(std::int64_t begin) const {
    return {fill, row, distance, fill(row, begin)};
  }
  RMSNORM_INLINE VecPair step(std::int64_t j, VecPair acc) const {
    return fma(load_pair<float>(factors + j), load_pair<float>(factors + distance + j), acc);
  }
  RMSNORM_INLINE VecPair part(std::int64_t j, std::int64_t, std::int64_t, VecPair acc) const {
    return step(j, acc);
  }
};

// fold_rows of the factors that `fill` writes, for rows from `row` on.
[[gnu::noinline]] void fold_filled_rows(std::int64_t hidden_size, std::int64_t row,
                                        std::int64_t count, std::int64_t distance, FillTile fill,
                                        float* sums) {
  const auto factors_of = [&](std::int64_t r) { return TileFactors{fill, row + r, distance}; };
  fold_rows<float>(hidden_size, count, factors_of, sums);
}

// The columns of the tile that begins at one.
RMSNORM_INLINE std::int64_t tile_columns(std::int64_t hidden_size, std::int64_t begin) {
  return hidden_size - begin < kTileColumns ? hidden_size - begin : kTileColumns;
}

// A VecPair of which the first `count` columns exist.
template <class X>
RMSNORM_INLINE VecPair load_first(const X* source, std::int64_t count) {
  return count >= kPairColumns ? load_pair<X>(source) : load_masked<X>(source, 0, count);
}

// What a gate before the norm makes of x, as float32 in the order of columns, row by row: for the
// pass that follows the fold, of rows that are short enough. Measured with AVX-512 at 8x4096 of
// float32, forward takes 0.62 of the time that it takes to compute them twice.
struct KeptRows {
  static constexpr std::int64_t kMost = 8192;  // columns in all

  float* data = nullptr;  // null if there is no room
  std::int64_t stride = 0;
};

// The fold of x and x of rows of x gated before the norm.
template <class X>
[[gnu::noinline]] void fold_gated_x(const ConstRows& x, const ConstRows& gate, std::int64_t row,
                                    std::int64_t count, std::int64_t hidden_size, KeptRows kept,
                                    float* sums) {
  alignas(64) float tile[kTileColumns];
  const auto fill = [&](std::int64_t r, std::int64_t begin) -> const float* {
    const X* const tile_x = row_of<X>(x, r) + begin;
    const X* const tile_gate = row_of<X>(gate, r) + begin;
    float* const to = kept.data == nullptr ? tile : kept.data + (r - row) * kept.stride + begin;
    const std::int64_t columns = tile_columns(hidden_size, begin);
    for (std::int64_t j = 0; j < columns; j += kPairColumns) {
      const VecPair s = silu(load_first(tile_gate + j, columns - j));
      store_floats<kInterleaved<X>>(to + j, gated_x_of(load_first(tile_x + j, columns - j), s));
    }
    return to;
  };
  fold_filled_rows(hidden_size, row, count, 0, fill, sums);
}

// The fold of x and x of rows of a call, as fold_squares.
template <class X, class Args>
RMSNORM_INLINE void fold_x(const Args& args, std::int64_t row, std::int64_t count, float* sums,
                           KeptRows kept = {}) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  if (reference::has_gate<X>(args, GateOrder::kBeforeNorm)) {
    return fold_gated_x<X>(args.x, args.gate, row, count, hidden_size, kept, sums);
  }
  MinAbs<X> min_abs;
  fold_squares<X>(args.x, row, count, hidden_size, min_abs, sums);
}

// The fold of g and x of gated rows, as fold_gradients.
template <class X, bool kLlama>
[[gnu::noinline]] void fold_gated_gradients(const BackwardArgs& args, const Weights<X>& weights,
                                            std::int64_t row, std::int64_t count, float* sums) {
  alignas(64) float tile_g[2 * kTileColumns];
  float* const tile_x = tile_g + kTileColumns;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const bool is_after = args.options.gate_order == GateOrder::kAfterNorm;
  const bool is_weighted = args.weight.data != nullptr;
  const auto fill = [&](std::int64_t r, std::int64_t begin) -> const float* {
    constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
    const X* const row_dy = row_of<X>(args.dy, r) + begin;
    const X* const row_x = row_of<X>(args.x, r) + begin;
    const X* const row_gate = row_of<X>(args.gate, r) + begin;
    const std::int64_t columns = tile_columns(hidden_size, begin);
    for (std::int64_t j = 0; j < columns; j += kPairColumns) {
      const std::int64_t rest = columns - j;
      const VecPair s = silu(load_first(row_gate + j, rest));
      VecPair g = load_first(row_dy + j, rest);
      VecPair x = load_first(row_x + j, rest);
      if (is_after) {
        g = dn_of(g, s, round);
      } else {
        x = gated_x_of(x, s);
      }
      if (is_weighted) {
        const std::int64_t column = begin + j;
        g = g_of(
            g, rest >= kPairColumns ? weights.from(column).at(0) : weights.masked(column, 0, rest),
            round);
      }
      store_floats<kInterleaved<X>>(tile_g + j, g);
      store_floats<kInterleaved<X>>(tile_x + j, x);
    }
    return tile_g;
  };
  fold_filled_rows(hidden_size, row, count, kTileColumns, fill, sums);
}

}  // namespace
}  // namespace rmsnorm::cpu
