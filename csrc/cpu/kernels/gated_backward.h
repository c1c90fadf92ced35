// dx, dgate and the sums of dweight of rows with a gate. The sums have the same layout as without a
// gate (backward_columns.h).
#pragma once

#include "../simd/silu_vectors.h"
#include "backward_columns.h"

namespace rmsnorm::cpu {
namespace {

// Consecutive columns of a row, from some column on.
template <class X>
struct GatedColumns {
  const X* dy;
  const X* x;
  const X* gate;
  const X* dsum;  // null if there is none
  X* dx;          // dx and dgate are null if they are not wanted
  X* dgate;
  WeightPairs<X> w;  // its pointers are null if there is no weight
  float* partial;    // the sums of these columns, in VecPairs; null if dweight is not wanted
};

// The values that all columns of a row share.
struct GatedRow {
  GateOrder order;
  float rstd;
  float cbar;
  bool is_first;  // the first row of a row group: its partial sums start from +0
};

template <class X>
using GatedKernel = void (*)(const GatedColumns<X>&, GatedRow, std::int64_t count);

// The first `count` columns, in whole VecPairs. All segments of a row share this long code.
template <class X, bool kLlama>
[[gnu::noinline]] void gated_columns(const GatedColumns<X>& columns, GatedRow row,
                                     std::int64_t count) {
  constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
  const GatedColumns<X> from = columns;  // a copy, because a store could alias the original
  const Vec rstd = Vec::broadcast(row.rstd);
  const Vec minus_cbar = Vec::broadcast(-row.cbar);
  const bool is_after = row.order == GateOrder::kAfterNorm;
  for (std::int64_t j = 0; j < count; j += kPairColumns) {
    const VecPair dy = load_pair<X>(from.dy + j);
    const VecPair x = load_pair<X>(from.x + j);
    const VecPair z = load_pair<X>(from.gate + j);
    const VecPair s = silu(z);
    const VecPair dn = is_after ? dn_of(dy, s, round) : dy;
    const VecPair xhat = xhat_of(is_after ? x : gated_x_of(x, s), rstd);
    if (from.partial != nullptr) {
      float* const partial = from.partial + j;
      const VecPair chain = row.is_first ? zero_pair() : load_floats<false>(partial);
      store_floats<false>(partial, add_to_dweight(chain, dn, xhat, round));
    }
    if (from.dx == nullptr) continue;
    const VecPair w = from.w.a == nullptr ? filled(z, 1.0f) : from.w.at(j);
    const VecPair gradient = dx_of(g_of(dn, w, round), xhat, rstd, minus_cbar);
    const VecPair derivative = silu_derivative(z);
    const VecPair dgate = is_after ? dgate_of(dy, normed_of(xhat, w, round), derivative)
                                   : dgate_of(gradient, x, derivative);
    VecPair dx = is_after ? gradient : gated_dx_of(gradient, s);
    if (from.dsum != nullptr) dx = dx + load_pair<X>(from.dsum + j);
    store_pair<X, Floats::kQuietNaN>(from.dx + j, dx);
    store_pair<X, Floats::kQuietNaN>(from.dgate + j, dgate);
  }
}

// The head or the tail of a row: the columns [begin, end) of the VecPair at `column`, from a copy
// whose other columns are zeros.
template <class X>
[[gnu::noinline]] void gated_end(const GatedColumns<X>& row, GatedRow shared,
                                 const Weights<X>& weights, std::int64_t column, std::int64_t begin,
                                 std::int64_t end, float* partial, GatedKernel<X> kernel) {
  alignas(64) X inputs[4][kPairColumns] = {};
  alignas(64) X outputs[2][kPairColumns];
  alignas(64) float w[kPairColumns];
  GatedColumns<X> end_columns{inputs[0], inputs[1], inputs[2], nullptr,
                              nullptr,   nullptr,   {},        partial};
  copy_columns(inputs[0], row.dy + column, begin, end);
  copy_columns(inputs[1], row.x + column, begin, end);
  copy_columns(inputs[2], row.gate + column, begin, end);
  if (row.dsum != nullptr) {
    copy_columns(inputs[3], row.dsum + column, begin, end);
    end_columns.dsum = inputs[3];
  }
  if (row.w.a != nullptr) {
    store_floats<false>(w, weights.masked(column, begin, end));
    end_columns.w = {w, w + Vec::kLanes};
  }
  if (row.dx == nullptr) return kernel(end_columns, shared, kPairColumns);
  end_columns.dx = outputs[0];
  end_columns.dgate = outputs[1];
  kernel(end_columns, shared, kPairColumns);
  copy_columns(row.dx + column, outputs[0], begin, end);
  copy_columns(row.dgate + column, outputs[1], begin, end);
}

// Runs the kernel on every column of a block, whose first row is row `first` of the call.
template <class X>
[[gnu::noinline]] void gated_block(const BackwardArgs& args, const BackwardBlock<X>& block,
                                   std::int64_t first, GatedKernel<X> kernel) {
  const PartialSums& partials = block.partials;
  const bool is_weighted = args.weight.data != nullptr && args.dx.data != nullptr;
  for (std::int64_t r = 0; r < block.count; ++r) {
    const BackwardRow<X>& in = block.rows[r];
    GatedColumns<X> row{in.dy, in.x,   row_of<X>(args.gate, first + r), in.dsum, in.dx, nullptr,
                        {},    nullptr};
    if (row.dx != nullptr) row.dgate = row_of<X>(args.dgate, first + r);
    if (is_weighted) row.w = block.weights.from(0);
    const GatedRow shared{args.options.gate_order, in.rstd, in.cbar, block.is_first && r == 0};
    const auto on_body = [&](std::int64_t begin, std::int64_t end) {
      GatedColumns<X> body = row;
      body.dy += begin;
      body.x += begin;
      body.gate += begin;
      if (row.dsum != nullptr) body.dsum += begin;
      if (row.dx != nullptr) body.dx += begin;
      if (row.dx != nullptr) body.dgate += begin;
      if (is_weighted) body.w = block.weights.from(begin);
      body.partial = partials.body;
      kernel(body, shared, end - begin);
    };
    const auto on_end = [&](std::int64_t column, std::int64_t begin, std::int64_t end) {
      float* const partial = begin == 0 ? partials.head : partials.tail;
      gated_end<X>(row, shared, block.weights, column, begin, end, partial, kernel);
    };
    for_body_and_ends(block.body, block.hidden_size, on_body, on_end);
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
