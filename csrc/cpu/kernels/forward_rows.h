// Forward of one row at a time: its row sum, its rstd, and y in one more pass over the row. Rows of
// a few tiles are summed several at a time (batched_rows.h) and then scaled as here.
#pragma once

#include "../../op/formula.h"
#include "../simd/min_abs.h"
#include "../simd/rows.h"
#include "fold_rows.h"
#include "rescaled_rows.h"
#include "weights.h"

namespace rmsnorm::cpu {
namespace {

// How the rows of a call are scaled, as one type for the functions below: the dtype X, with or
// without weights, in Llama's order or not, and the stores of y.
template <class T, bool kWeights, bool kLlama, Stores kWrites>
struct Scaling {
  using X = T;
  static constexpr bool kWeighted = kWeights;
  static constexpr bool kRoundsTwice = kWeights && kLlama;  // xhat, then y
  static constexpr bool kStreams = kWrites == Stores::kStreaming;
  template <Floats kWhich>
  using Writer = RowWriter<X, kWhich, kWrites>;

  // w() gives the weights; it is called only if there are any.
  template <Floats kWhich, class W>
  RMSNORM_INLINE static VecPair y(VecPair x, Vec rstd, const W& w) {
    const VecPair xhat = xhat_of(x, rstd);
    if constexpr (kWeighted) return y_of(xhat, w(), Rounding<X, kLlama, kWhich>{});
    return xhat;
  }
};

// y of a row. Every lane of `rstd` is the rstd of the row.
template <class S, Floats kWhich, class W>
RMSNORM_INLINE void scale_row(const ForwardArgs& args, const W& weights, std::int64_t row,
                              Vec rstd) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const X* const x = row_of<X>(args.x, row);
  const typename S::template Writer<kWhich> y{row_of<X>(args.y, row)};
  if (hidden_size < kPairColumns) {
    const auto w = [&] { return weights.masked(0, 0, hidden_size); };
    const VecPair value = S::template y<kWhich>(load_masked<X>(x, 0, hidden_size), rstd, w);
    return y.masked(0, 0, hidden_size, value);
  }
  // With streaming stores, the next row is prefetched meanwhile.
  const X* const next = row + 1 < args.shape.rows ? row_of<X>(args.x, row + 1) : x;
  // Weights prepared for 16-bit tensors are float32. They are read at another pace than y is
  // written, so that 4K aliasing with y (has_4k_aliasing) does not last.
  constexpr bool kWeightsAlias = S::kWeighted && sizeof(X) == sizeof(float);
  const bool descending =
      !S::kStreams && (kWeightsAlias ? prefer_descending(y.data, x, weights.address())
                                     : prefer_descending(y.data, x));
  write_row(y, hidden_size, descending, [&](std::int64_t column) {
    return [=, w = weights.from(column)](std::int64_t j) {
      if constexpr (S::kStreams) prefetch_pair(next + column + j);
      return S::template y<kWhich>(load_pair<X>(x + column + j), rstd, [&] { return w.at(j); });
    };
  });
}

// The same, with the fastest rounding that is right if all nonzero x have at least the magnitude
// min_abs_x; 0: not known.
template <class S, class W>
RMSNORM_INLINE void scale_row(const ForwardArgs& args, const W& weights, std::int64_t row, Vec rstd,
                              float min_abs_x) {
  const float min_abs_w = S::kWeighted ? weights.min_abs() : 1.0f;
  if (MinAbs<typename S::X>::has_no_subnormals(min_abs_x, rstd, min_abs_w)) {
    scale_row<S, Floats::kNoSubnormals>(args, weights, row, rstd);
  } else {
    scale_row<S, W::kFloats>(args, weights, row, rstd);
  }
}

// rstd of the rows from `first` on, whose row sums are the lanes of `sums`. Writes it to args.rstd,
// if wanted, and to `rstds`.
template <class X>
RMSNORM_INLINE void store_rstd(const ForwardArgs& args, Vec sums, std::int64_t first,
                               std::int64_t count, float (&rstds)[Vec::kLanes]) {
  rstd_of_rows<X>(args, {first, first + count}, sums).store(rstds);
  if (float* const out = static_cast<float*>(args.rstd); out != nullptr) {
    for (std::int64_t r = 0; r < count; ++r) out[first + r] = rstds[r];
  }
}

template <bool kWatched, class S, class W>
RMSNORM_INLINE void forward_each_row(const ForwardArgs& args, Range rows, const W& weights) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    alignas(64) float sums[1 + Vec::kLanes];
    alignas(64) float rstds[Vec::kLanes];
    MinAbs<X> min_abs;
    fold_squares<X>(args.x, row, 1, hidden_size, min_abs, sums);
    store_rstd<X>(args, Vec::broadcast(sums[0]), row, 1, rstds);
    const Vec rstd = Vec::broadcast(rstds[0]);
    if constexpr (kWatched) {
      scale_row<S, Floats::kWatched>(args, weights, row, rstd);
    } else {
      scale_row<S>(args, weights, row, rstd, min_abs.value(args.x, row, 1, hidden_size));
    }
  }
}

// Rows between two reads of the exception flags. Reading the flags waits for all arithmetic to end.
static constexpr std::int64_t kWatchedRows = 8;

// Rounding is watched (Floats::kWatched) for kWatchedRows rows at a time. If it was wrong for some
// of them, these rows and all later ones are written without watching. Therefore rounding is not
// watched if y is x: the first attempt would overwrite x. Measured with AVX2, one thread: watching
// takes 0.92 of the time from 1x4096 to 512x4096. It gains nothing for rows that are rounded once.
template <class S, class W>
void forward_long_rows(const ForwardArgs& args, Range rows, const W& weights) {
  constexpr bool kWatched =
      kWatches<typename S::X> && S::kRoundsTwice && !S::kStreams && W::kFloats == Floats::kQuietNaN;
  if constexpr (kWatched) {
    ExceptionFlags flags;
    while (rows.begin < rows.end && args.y.data != args.x.data) {
      const std::int64_t left = rows.end - rows.begin;
      const Range some{rows.begin, left < kWatchedRows ? rows.end : rows.begin + kWatchedRows};
      flags.clear();
      forward_each_row<true, S>(args, some, weights);
      if (flags.are_raised()) break;
      rows.begin = some.end;
    }
    flags.restore();
  }
  forward_each_row<false, S>(args, rows, weights);
}

}  // namespace
}  // namespace rmsnorm::cpu
