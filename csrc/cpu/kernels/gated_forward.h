// Forward of rows with a gate.
#pragma once

#include "forward_rows.h"
#include "gated_folds.h"

namespace rmsnorm::cpu {
namespace {

// y of a row with a gate, before its cast.
template <class X, bool kLlama>
RMSNORM_INLINE VecPair gated_y(VecPair x, VecPair gate, VecPair w, Vec rstd, GateOrder order) {
  constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
  const VecPair s = silu(gate);
  if (order == GateOrder::kAfterNorm) return gated_y_of(xhat_of(x, rstd), w, s, round);
  return y_of(xhat_of(gated_x_of(x, s), rstd), w, round);
}

// Columns of a row, from some column on.
template <class X>
struct GatedInput {
  const X* x;
  const X* gate;
  const float* gated_x;  // from GatedXRows; null if the gate must be applied here
  WeightPairs<X> w;      // its pointers are null if there is no weight
};

template <class X>
using GatedScale = void (*)(const GatedInput<X>&, GateOrder, float rstd, std::int64_t count, X* y);

// y of the first `count` columns, in whole VecPairs. All segments of a row share this long code.
template <class X, bool kLlama>
[[gnu::noinline]] void scale_gated(const GatedInput<X>& input, GateOrder order, float row_rstd,
                                   std::int64_t count, X* y) {
  constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
  const GatedInput<X> from = input;  // a copy, because a store could alias the original
  const Vec rstd = Vec::broadcast(row_rstd);
  for (std::int64_t j = 0; j < count; j += kPairColumns) {
    const VecPair w = from.w.a == nullptr ? filled(zero_pair(), 1.0f) : from.w.at(j);
    VecPair value;
    if (from.gated_x != nullptr) {
      value = y_of(xhat_of(load_floats<kInterleaved<X>>(from.gated_x + j), rstd), w, round);
    } else {
      value =
          gated_y<X, kLlama>(load_pair<X>(from.x + j), load_pair<X>(from.gate + j), w, rstd, order);
    }
    store_pair<X, Floats::kQuietNaN>(y + j, value);
  }
}

template <class X>
[[gnu::noinline]] void scale_gated_row(const ForwardArgs& args, const Weights<X>& weights,
                                       std::int64_t row, float rstd, const float* gated_x,
                                       GatedScale<X> scale) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const GateOrder order = args.options.gate_order;
  const X* const x = row_of<X>(args.x, row);
  const X* const gate = row_of<X>(args.gate, row);
  X* const y = row_of<X>(args.y, row);
  const bool is_weighted = args.weight.data != nullptr;
  const auto scale_body = [&](std::int64_t begin, std::int64_t end) {
    GatedInput<X> input{
        x + begin, gate + begin, gated_x == nullptr ? nullptr : gated_x + begin, {}};
    if (is_weighted) input.w = weights.from(begin);
    scale(input, order, rstd, end - begin, y + begin);
  };
  const auto scale_end = [&](std::int64_t column, std::int64_t begin, std::int64_t end) {
    alignas(64) X values[3][kPairColumns] = {};
    alignas(64) float w[kPairColumns];
    alignas(64) float gated_x_end[kPairColumns] = {};
    copy_columns(values[0], x + column, begin, end);
    copy_columns(values[1], gate + column, begin, end);
    GatedInput<X> input{values[0], values[1], nullptr, {}};
    if (gated_x != nullptr) {
      copy_columns(gated_x_end, gated_x + column, begin, end);
      input.gated_x = gated_x_end;
    }
    if (is_weighted) {
      store_floats<false>(w, weights.masked(column, begin, end));
      input.w = {w, w + Vec::kLanes};
    }
    scale(input, order, rstd, kPairColumns, values[2]);
    copy_columns(y + column, values[2], begin, end);
  };
  for_body_and_ends(aligned_body(y, hidden_size), hidden_size, scale_body, scale_end);
}

template <class X, bool kLlama>
void forward_gated_rows(const ForwardArgs& args, Range rows, Stores, const void* prepared) {
  const Weights<X> weights(args.weight, prepared);
  const std::int64_t together = rows_together(args.shape.hidden_size);
  alignas(64) float memory[GatedXRows::kMaxColumns];
  GatedXRows gated_x;
  gated_x.stride = ceil_div(args.shape.hidden_size, kPairColumns) * kPairColumns;
  if (args.options.gate_order == GateOrder::kBeforeNorm &&
      together * gated_x.stride <= GatedXRows::kMaxColumns) {
    gated_x.data = memory;
  }
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t count = rows.end - first < together ? rows.end - first : together;
    alignas(64) float sums[2 * Vec::kLanes];
    alignas(64) float rstds[Vec::kLanes];
    fold_x<X>(args, first, count, sums, gated_x);
    const Vec folds = together > 1 ? Vec::load(sums) : Vec::broadcast(sums[0]);
    store_rstd<X>(args, folds, first, count, rstds);
    for (std::int64_t r = 0; r < count; ++r) {
      const float* const row =
          gated_x.data == nullptr ? nullptr : gated_x.data + r * gated_x.stride;
      scale_gated_row<X>(args, weights, first + r, rstds[r], row, scale_gated<X, kLlama>);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
