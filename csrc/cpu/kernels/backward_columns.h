// dx of the columns of a block of rows, and their sums of dy * xhat.
//
// A row of partial sums holds VecPairs in X's order (simd.h). It is cut as the rows are
// (AlignedBody): the head at column 0, then the body, then the tail. A row shorter than a VecPair
// has one VecPair. If the sums of the body are dweight itself (sums_are_dweight), they are written
// to dweight instead.
#pragma once

#include "../../op/formula.h"
#include "../simd/rows.h"
#include "weights.h"

namespace rmsnorm::cpu {
namespace {

// All rows of a call are cut alike, by the alignment of the first row.
template <class X>
RMSNORM_INLINE AlignedBody backward_body(const BackwardArgs& args) {
  const void* aligned = args.dx.data != nullptr ? args.dx.data : args.x.data;
  return aligned_body(static_cast<const X*>(aligned), args.shape.hidden_size);
}

// Whether the sums of the rows are dweight itself: there is one row group, tensors and dweight are
// float32, and nothing is accumulated. Measured with AVX2, one thread: backward takes 0.76 of the
// time at 1x4096.
template <class X>
RMSNORM_INLINE bool sums_are_dweight(const BackwardArgs& args) {
  return __is_same(X, float) && args.dweight != nullptr && !args.accumulate &&
         row_group_count(args.shape.rows) == 1;
}

// Where the sums of a row group are written, each in VecPairs; null if dweight is not wanted.
struct PartialSums {
  float* head;  // or the whole row, if it is shorter than a VecPair
  float* body;
  float* tail;
};

template <class X>
RMSNORM_INLINE PartialSums partial_sums(const BackwardArgs& args, AlignedBody body,
                                        float* partial) {
  if (partial == nullptr) return {nullptr, nullptr, nullptr};
  float* const after_head = partial + (body.begin > 0 ? kPairColumns : 0);
  float* const tail = after_head + (body.end - body.begin);
  if (!sums_are_dweight<X>(args)) return {partial, after_head, tail};
  return {partial, static_cast<float*>(args.dweight) + body.begin, tail};
}

// Whether the weights and partial sums of a stripe of columns stay in registers for all rows of a
// block. With 16 registers too few are left for that.
static constexpr bool kHasStripes = kRegisters >= 32;

// The width of a stripe, in VecPairs: 128 columns, but at most 8 VecPairs. Narrower stripes give
// the caches' prefetchers too little of a row. Measured at 32x4096 with AVX-512: 64 columns take
// 1.4 times as long; 192 and 256 take as long as 128.
static constexpr std::int64_t kStripePairs = 128 / kPairColumns < 8 ? 128 / kPairColumns : 8;

// Without stripes, this many rows are computed side by side and share weights and partial sums.
// More rows would compete for the lines of the nearest cache, which has 8 lines in each set. Rows
// of 4096 floats, in arrays that are aligned alike, map dy, x and dx of every row to the same sets.
// Measured with AVX2 at 8x4096 with such arrays: 4 rows take 1.3 times as long, stripes 1.08 times.
static constexpr std::int64_t kRowsAtOnce = 2;

// One row of backward: what its columns need besides w.
template <class X>
struct BackwardRow {
  const X* dy;
  const X* x;
  X* dx;
  const X* dsum;  // null if there is none
  float rstd;
  float cbar;
};

// A block of rows, its weights, and where its sums go.
template <class X>
struct BackwardBlock {
  const BackwardRow<X>* rows;
  std::int64_t count;
  std::int64_t hidden_size;
  AlignedBody body;
  const Weights<X>& weights;
  PartialSums partials;
  bool is_first;  // the first block of a row group: its partial sums start from +0
  Stores stores;  // of dx
};

// The work of a column kernel, fixed at compile time: the dtype X, with or without weights, in
// Llama's order or not, dx or the sums of dweight or both, and the stores of dx.
template <class T, bool kWeights, bool kLlamaOrder, bool kHasDx, bool kHasDweight, Stores kWrites>
struct Gradients {
  using X = T;
  static constexpr bool kWeighted = kWeights;
  static constexpr bool kLlama = kLlamaOrder;
  static constexpr bool kDx = kHasDx;
  static constexpr bool kDweight = kHasDweight;
  static constexpr Stores kStores = kWrites;
};

// dx of one VecPair of a row's columns. Adds dy * xhat to acc.
template <class G, class X>
RMSNORM_INLINE VecPair backward_pair(VecPair dy, VecPair x, VecPair w, const BackwardRow<X>& row,
                                     VecPair& acc) {
  constexpr Rounding<X, G::kLlama, Floats::kQuietNaN> round;
  const Vec rstd = Vec::broadcast(row.rstd);
  const VecPair xhat = xhat_of(x, rstd);
  if constexpr (G::kDweight) acc = add_to_dweight(acc, dy, xhat, round);
  if constexpr (!G::kDx) return xhat;
  VecPair g = dy;
  if constexpr (G::kWeighted) g = g_of(dy, w, round);
  return dx_of(g, xhat, rstd, Vec::broadcast(-row.cbar));
}

// The same, but reads dy and x from memory, adds dsum if there is one, and writes dx to memory.
template <class G, class X>
RMSNORM_INLINE void write_backward_pair(const BackwardRow<X>& row, std::int64_t column, VecPair w,
                                        VecPair& acc) {
  VecPair dx =
      backward_pair<G>(load_pair<X>(row.dy + column), load_pair<X>(row.x + column), w, row, acc);
  if constexpr (!G::kDx) return;
  if (row.dsum != nullptr) dx = dx + load_pair<X>(row.dsum + column);
  RowWriter<X, Floats::kQuietNaN, G::kStores>{row.dx}.at(column, dx);
}

// kPairCount whole VecPairs of columns from column j on, for all rows of a block. Weights and
// partial sums stay in registers for all of them.
template <class G, std::int64_t kPairCount, class X>
RMSNORM_INLINE void backward_stripe(const BackwardBlock<X>& block, std::int64_t j, float* partial) {
  VecPair w[kPairCount];
  VecPair acc[kPairCount];
  for (std::int64_t p = 0; p < kPairCount; ++p) {
    if constexpr (G::kWeighted) w[p] = block.weights.from(j).at(p * kPairColumns);
    acc[p] = zero_pair();
    if (G::kDweight && !block.is_first) acc[p] = load_floats<false>(partial + p * kPairColumns);
  }
  const BackwardRow<X>* const rows = block.rows;
  const std::int64_t count = block.count;
  for (std::int64_t r = 0; r < count; ++r) {
    // A copy: the original could alias a store and would be read again after each one.
    const BackwardRow<X> row = rows[r];
    for (std::int64_t p = 0; p < kPairCount; ++p) {
      write_backward_pair<G>(row, j + p * kPairColumns, w[p], acc[p]);
    }
  }
  for (std::int64_t p = 0; p < kPairCount; ++p) {
    if constexpr (G::kDweight) store_floats<false>(partial + p * kPairColumns, acc[p]);
  }
}

// Segments of this many columns are computed from the last to the first, because the nearest cache
// still has what the row sum read last. A call that wants only dx takes 0.9 of the time at 32x4096
// on two threads. Within a segment the order is ascending. If it were descending there too, the
// caches' prefetchers would not help, and 512x4096 would take 1.5 times as long.
static constexpr std::int64_t kAscendingColumns = 1024;

template <class G, class X>
RMSNORM_INLINE void backward_stripes(const BackwardBlock<X>& block, Range columns, float* partial) {
  constexpr std::int64_t kStripeColumns = kStripePairs * kPairColumns;
  static_assert(kAscendingColumns % kStripeColumns == 0);
  std::int64_t begin = columns.end;
  for (std::int64_t end = columns.end; end > columns.begin; end = begin) {
    begin = columns.begin + (end - columns.begin - 1) / kAscendingColumns * kAscendingColumns;
    float* sums = G::kDweight ? partial + (begin - columns.begin) : nullptr;
    std::int64_t j = begin;
    const auto advance = [&](std::int64_t by) {
      j += by;
      if (G::kDweight) sums += by;
    };
    for (; j + kStripeColumns <= end; advance(kStripeColumns))
      backward_stripe<G, kStripePairs>(block, j, sums);
    for (; j < end; advance(kPairColumns)) backward_stripe<G, 1>(block, j, sums);
  }
}

// Whole VecPairs of columns of kRows rows of a block, from row `first` on.
template <class G, std::int64_t kRows, class X>
RMSNORM_INLINE void backward_side_by_side(const BackwardBlock<X>& block, std::int64_t first,
                                          Range columns, float* partial) {
  BackwardRow<X> row[kRows];
  unrolled<kRows>([&](auto r) { row[r.value] = block.rows[first + r.value]; });
  const bool is_first = block.is_first && first == 0;
  WeightPairs<X> weights{};
  if constexpr (G::kWeighted) weights = block.weights.from(columns.begin);
  for (std::int64_t j = 0; j < columns.end - columns.begin; j += kPairColumns) {
    VecPair w{};
    if constexpr (G::kWeighted) w = weights.at(j);
    VecPair acc = zero_pair();
    if (G::kDweight && !is_first) acc = load_floats<false>(partial + j);
    unrolled<kRows>(
        [&](auto r) { write_backward_pair<G>(row[r.value], columns.begin + j, w, acc); });
    if constexpr (G::kDweight) store_floats<false>(partial + j, acc);
  }
}

// Whole VecPairs of columns of a block. Their partial sums begin at `partial`.
template <class G, class X>
[[gnu::noinline]] void backward_columns(const BackwardBlock<X>& block, Range columns,
                                        float* partial) {
  if constexpr (kHasStripes) {
    backward_stripes<G>(block, columns, partial);
  } else {
    std::int64_t r = 0;
    for (; r + kRowsAtOnce <= block.count; r += kRowsAtOnce) {
      backward_side_by_side<G, kRowsAtOnce>(block, r, columns, partial);
    }
    for (; r < block.count; ++r) backward_side_by_side<G, 1>(block, r, columns, partial);
  }
}

// VecPairs that overlap: the head or the tail or both, and at most one VecPair of the body that
// they overlap. For each row, all are loaded before any is stored.
struct OverlappingPairs {
  static constexpr int kMaxPairs = 3;
  struct Pair {
    std::int64_t column;
    Range written;  // columns of the VecPair that must be written
    float* partial;
  };
  Pair pairs[kMaxPairs];
  int count = 0;

  void add(std::int64_t column, Range written, float* partial) {
    pairs[count++] = {column, written, partial};
  }
};

// kMasked: the rows are shorter than a VecPair, so there is one masked VecPair.
template <class G, bool kMasked, class X>
[[gnu::noinline]] void backward_overlapping(const BackwardBlock<X>& block,
                                            const OverlappingPairs& overlapping) {
  VecPair w[OverlappingPairs::kMaxPairs] = {};
  VecPair acc[OverlappingPairs::kMaxPairs] = {};
  VecPair dx[OverlappingPairs::kMaxPairs] = {};
  const auto for_each = [&](const auto& function) {
    function(0);
    if constexpr (kMasked) return;
    if (overlapping.count > 1) function(1);
    if (overlapping.count > 2) function(2);
  };
  const std::int64_t columns = block.hidden_size;
  const auto load = [&](const X* from) {
    if constexpr (kMasked) return load_masked<X>(from, 0, columns);
    return load_pair<X>(from);
  };
  for_each([&](int i) {
    const std::int64_t j = overlapping.pairs[i].column;
    if (G::kDweight && !block.is_first) acc[i] = load_floats<false>(overlapping.pairs[i].partial);
    if constexpr (!G::kWeighted) return;
    w[i] = kMasked ? block.weights.masked(0, 0, columns) : block.weights.from(j).at(0);
  });
  const BackwardRow<X>* const rows = block.rows;
  const std::int64_t count = block.count;
  for (std::int64_t r = 0; r < count; ++r) {
    const BackwardRow<X> row = rows[r];
    for_each([&](int i) {
      const std::int64_t j = overlapping.pairs[i].column;
      dx[i] = backward_pair<G>(load(row.dy + j), load(row.x + j), w[i], row, acc[i]);
      if (G::kDx && row.dsum != nullptr) dx[i] = dx[i] + load(row.dsum + j);
    });
    if constexpr (!G::kDx) continue;
    for_each([&](int i) {
      X* const to = row.dx + overlapping.pairs[i].column;
      const Range written = overlapping.pairs[i].written;
      const bool is_whole = written.end - written.begin == kPairColumns;
      if (!kMasked && (block.stores == Stores::kCached || is_whole)) {
        store_pair<X, Floats::kQuietNaN>(to, dx[i]);
      } else {
        store_masked<X, Floats::kQuietNaN>(to, written.begin, written.end, dx[i]);
      }
    });
  }
  if constexpr (!G::kDweight) return;
  for_each([&](int i) { store_floats<false>(overlapping.pairs[i].partial, acc[i]); });
}

template <class X>
struct ColumnKernels {
  void (*short_row)(const BackwardBlock<X>&, const OverlappingPairs&);
  void (*overlapping)(const BackwardBlock<X>&, const OverlappingPairs&);
  void (*columns)(const BackwardBlock<X>&, Range columns, float* partial);
};

template <class X, bool kWeighted, bool kLlama, bool kDx, bool kDweight, Stores kStores>
constexpr ColumnKernels<X> kColumnKernels{
    backward_overlapping<Gradients<X, kWeighted, kLlama, kDx, kDweight, Stores::kCached>, true>,
    backward_overlapping<Gradients<X, kWeighted, kLlama, kDx, kDweight, Stores::kCached>, false>,
    backward_columns<Gradients<X, kWeighted, kLlama, kDx, kDweight, kStores>>};

// Runs the kernels on every column of a block.
template <class X>
[[gnu::noinline]] void backward_block(const BackwardBlock<X>& block,
                                      const ColumnKernels<X>& kernels) {
  const std::int64_t hidden_size = block.hidden_size;
  const AlignedBody body = block.body;
  const PartialSums& partials = block.partials;
  if (hidden_size < kPairColumns) {
    OverlappingPairs row;
    row.add(0, {0, hidden_size}, partials.head);
    return kernels.short_row(block, row);
  }
  const bool has_begin = body.begin > 0;
  const bool has_end = body.end < hidden_size;
  // Where the sums of column j are; null if dweight is not wanted.
  const auto at = [&](std::int64_t j) {
    return partials.body == nullptr ? nullptr : partials.body + (j - body.begin);
  };
  constexpr Range kAllColumns{0, kPairColumns};
  std::int64_t begin = body.begin;
  std::int64_t end = body.end;
  OverlappingPairs at_begin;
  OverlappingPairs at_end;
  if (has_begin) {
    at_begin.add(0, {0, body.begin}, partials.head);
    if (begin < end) at_begin.add(begin, kAllColumns, at(begin));
    begin += kPairColumns;
  }
  if (has_end) {
    OverlappingPairs& pairs = begin < end || !has_begin ? at_end : at_begin;
    if (begin < end) {
      end -= kPairColumns;
      pairs.add(end, kAllColumns, at(end));
    }
    pairs.add(body.tail, {body.end - body.tail, kPairColumns}, partials.tail);
  }
  if (at_begin.count > 0) kernels.overlapping(block, at_begin);
  if (begin < end) kernels.columns(block, {begin, end}, at(begin));
  if (at_end.count > 0) kernels.overlapping(block, at_end);
}

}  // namespace
}  // namespace rmsnorm::cpu
