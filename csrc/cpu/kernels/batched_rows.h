// Forward of rows of a few tiles, in batches. The rows of a batch fill the lanes of a Vec, so that
// their row sums and their rstd are computed together.
#pragma once

#include "forward_rows.h"

namespace rmsnorm::cpu {
namespace {

// fold_tiles for a row of the next batch. If a Vec has few lanes, the code of fold_tiles is
// longest. It is then not inlined, and all kinds of rows share this function.
template <class X, class Loader>
[[gnu::noinline]] void fold_next_row(LaneSums<X>& lanes, std::int64_t first, std::int64_t step,
                                     std::int64_t hidden_size,
                                     const SquareFactors<X, Loader>& factors) {
  fold_tiles(lanes, first, step, hidden_size, factors);
}

// While the rows of a batch are scaled, the rows of the next batch are summed, so that memory is
// read and written all the time. `hidden_size` is args.shape.hidden_size; it is a parameter because
// some callers know it at compile time. scale(row, rstd, min_abs_x) scales one row. Loader, which
// loads x, is Loads or MinAbs (min_abs.h).
template <class X, class Loader, class Scale>
RMSNORM_INLINE void forward_batched(const ForwardArgs& args, Range rows, std::int64_t hidden_size,
                                    const Scale& scale) {
  const std::int64_t together = rows_together(hidden_size);
  std::int64_t count = rows.end - rows.begin < together ? rows.end - rows.begin : together;
  alignas(64) float first_sums[2 * Vec::kLanes];
  MinAbs<X> first_loader;
  fold_squares<X>(args.x, rows.begin, count, hidden_size, first_loader, first_sums);
  Vec sums = Vec::load(first_sums);
  Loader loader = first_loader;
  LaneSums<X> lanes;
  for (std::int64_t first = rows.begin;;) {
    alignas(64) float rstds[Vec::kLanes];
    store_rstd<X>(args, sums, first, count, rstds);
    const float min_abs_x = loader.value(args.x, first, count, hidden_size);
    loader = {};
    for (std::int64_t r = 0; r < count; ++r) {
      scale(first + r, Vec::broadcast(rstds[r]), min_abs_x);
      const std::int64_t next = first + together + r;
      const bool exists = next < rows.end;
      const SquareFactors<X, Loader> factors{row_of<X>(args.x, exists ? next : rows.begin),
                                             &loader};
      if constexpr (Vec::kLanes >= 8) {
        fold_tiles(lanes, r, together, exists ? hidden_size : 0, factors);
      } else {
        fold_next_row(lanes, r, together, exists ? hidden_size : 0, factors);
      }
    }
    first += together;
    if (first >= rows.end) return;
    sums = halve_lanes(lanes.sums(), together);
    if (rows.end - first < count) count = rows.end - first;
  }
}

// Rows that can_mask is true for number their columns from the start of the cache line that the row
// begins in. In these numbers, the row has the columns [begin, end). begin_at and end_at give the
// part of them in the VecPair at j.
RMSNORM_INLINE std::int64_t begin_at(std::int64_t j, std::int64_t begin) {
  return j == 0 ? begin : 0;
}
RMSNORM_INLINE std::int64_t end_at(std::int64_t j, std::int64_t end) {
  return end - j < kPairColumns ? end - j : kPairColumns;
}

// Whether all rows of y have at most one tile and begin equally far after the start of a cache
// line. Such rows are scaled line by line, with masks at their ends. Measured with AVX-512 at
// 512x128, 16 bytes after the start of a line: 0.9 of the time that overlapping ends (AlignedBody)
// take.
template <class X>
bool can_mask(const ForwardArgs& args) {
  return kMasks<X> && args.shape.hidden_size <= kTileColumns && aligned_alike(args.y);
}

// Scales rows that can_mask is true for.
template <class S>
struct MaskedRows {
  using X = typename S::X;
  WeightPairs<X> w;
  std::int64_t begin;
  std::int64_t end;

  template <Floats kWhich = Floats::kQuietNaN>
  RMSNORM_INLINE void scale(const ForwardArgs& args, std::int64_t row, Vec rstd) const {
    const X* const x = row_of<X>(args.x, row) - begin;
    const typename S::template Writer<kWhich> y{row_of<X>(args.y, row) - begin};
    const auto y_of = [&](std::int64_t j, VecPair value) {
      return S::template y<kWhich>(value, rstd, [&] { return w.at(j); });
    };
    const auto masked = [&](std::int64_t j) {
      const std::int64_t from = begin_at(j, begin);
      const std::int64_t to = end_at(j, end);
      y.masked(j, from, to, y_of(j, load_masked<X>(x + j, from, to)));
    };
    masked(0);
    std::int64_t j = kPairColumns;
    for (; j + kPairColumns <= end; j += kPairColumns) y.at(j, y_of(j, load_pair<X>(x + j)));
    if (j < end) masked(j);
  }
};

// Forward of such rows if they are float32 and have kColumns columns, as heads of attention do.
// They begin `line_offset` columns after the start of a cache line. This is a separate function so
// that the weights stay in registers. A row is loaded completely before any of it is stored, so
// that loads do not wait for stores (has_4k_aliasing). Measured with AVX-512: it takes 0.6 of the
// time of MaskedRows at 200x128 and 0.5 at 400x64. bfloat16, whose rounding needs registers too,
// takes up to 1.3 times as long this way.
template <class S, std::int64_t kColumns>
[[gnu::noinline]] void forward_register_rows(const ForwardArgs& args, Range rows,
                                             std::int64_t line_offset,
                                             WeightPairs<typename S::X> weights) {
  using X = typename S::X;
  static_assert(kColumns % kPairColumns == 0);
  constexpr std::int64_t kWhole = kColumns / kPairColumns;
  VecPair w[kWhole + 1];  // the last is for the row's last `line_offset` columns
  for (std::int64_t i = 0; i <= kWhole; ++i) w[i] = weights.at(i * kPairColumns);
  // `line_offset` is captured by value, so that it is not read from memory for every row.
  forward_batched<X, Loads<X>>(
      args, rows, kColumns, [&, line_offset](std::int64_t row, Vec rstd, float) {
        const X* const x = row_of<X>(args.x, row) - line_offset;
        const typename S::template Writer<Floats::kQuietNaN> y{row_of<X>(args.y, row) -
                                                               line_offset};
        VecPair value[kWhole + 1];
        value[0] = load_masked<X>(x, line_offset, kPairColumns);
        for (std::int64_t i = 1; i < kWhole; ++i) value[i] = load_pair<X>(x + i * kPairColumns);
        value[kWhole] = load_masked<X>(x + kColumns, 0, line_offset);
        for (std::int64_t i = 0; i <= kWhole; ++i) {
          value[i] = S::template y<Floats::kQuietNaN>(value[i], rstd, [&] { return w[i]; });
        }
        y.masked(0, line_offset, kPairColumns, value[0]);
        for (std::int64_t i = 1; i < kWhole; ++i) y.at(i * kPairColumns, value[i]);
        if (line_offset > 0) y.masked(kColumns, 0, line_offset, value[kWhole]);
      });
}

// Forward of rows that can_mask is true for.
template <class S>
void forward_masked_rows(const ForwardArgs& args, Range rows, std::int64_t line_offset,
                         WeightPairs<typename S::X> w, float min_abs_w) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  if constexpr (__is_same(X, float) && S::kWeighted && !S::kStreams) {
    if (hidden_size == 64) return forward_register_rows<S, 64>(args, rows, line_offset, w);
    if (hidden_size == 128) return forward_register_rows<S, 128>(args, rows, line_offset, w);
  }
  const MaskedRows<S> masked{w, line_offset, line_offset + hidden_size};
  if constexpr (__is_same(X, BFloat16)) {
    if (hidden_size > 224) {  // shorter rows gain nothing from MinAbs
      return forward_batched<X, MinAbs<X>>(
          args, rows, hidden_size, [&](std::int64_t row, Vec rstd, float min_abs_x) {
            if (MinAbs<X>::has_no_subnormals(min_abs_x, rstd, min_abs_w)) {
              masked.template scale<Floats::kNoSubnormals>(args, row, rstd);
            } else {
              masked.scale(args, row, rstd);
            }
          });
    }
  }
  forward_batched<X, Loads<X>>(args, rows, hidden_size, [&](std::int64_t row, Vec rstd, float) {
    masked.scale(args, row, rstd);
  });
}

template <class S>
void forward_short_rows(const ForwardArgs& args, Range rows,
                        const Weights<typename S::X>& weights) {
  using X = typename S::X;
  if constexpr (kMasks<X>) {
    if (can_mask<X>(args)) {
      const std::int64_t line_offset = offset_in_line(row_of<X>(args.y, 0));
      const std::int64_t end = line_offset + args.shape.hidden_size;
      alignas(64) float copied[kTileColumns + 2 * kPairColumns];
      WeightPairs<X> w{copied, copied + Vec::kLanes};
      if (S::kWeighted && weights.are_prepared()) {
        w = weights.from(-line_offset);
      } else if (S::kWeighted) {
        for (std::int64_t j = 0; j < end; j += kPairColumns) {
          const VecPair pair =
              weights.masked(j - line_offset, begin_at(j, line_offset), end_at(j, end));
          store_floats<false>(copied + j, pair);
        }
      }
      return forward_masked_rows<S>(args, rows, line_offset, w,
                                    S::kWeighted ? weights.min_abs() : 1.0f);
    }
  }
  forward_batched<X, MinAbs<X>>(args, rows, args.shape.hidden_size,
                                [&](std::int64_t row, Vec rstd, float min_abs_x) {
                                  scale_row<S>(args, weights, row, rstd, min_abs_x);
                                });
}

template <class S>
void forward_rows(const ForwardArgs& args, Range rows, Stores, const void* prepared) {
  using X = typename S::X;
  const std::int64_t hidden_size = args.shape.hidden_size;
  if (S::kWeighted && prepared == nullptr &&
      wants_preparing(args.dtype, args.weight, args.options)) {
    return with_raw_weights<X>(args.weight, args.options, [&](auto raw) {
      if (args.options.weight_offset == 0.0)
        raw.known_min_abs = MinAbs<X>::of(raw.data, hidden_size);
      forward_long_rows<S>(args, rows, raw);
    });
  }
  const Weights<X> weights(args.weight, prepared);
  if (rows_together(hidden_size) > 1 && rows.end - rows.begin > 1) {
    return forward_short_rows<S>(args, rows, weights);
  }
  forward_long_rows<S>(args, rows, weights);
}

}  // namespace
}  // namespace rmsnorm::cpu
