// dweight from partial sums (backward_columns.h).
#pragma once

#include "../simd/rows.h"
#include "backward_columns.h"
#include "reference_rows.h"

namespace rmsnorm::cpu {
namespace {

// dweight of T in the order of X from the partial sums `part`.
template <class X, class T>
void finish_pairs(const BackwardArgs& args, const float* partials, std::int64_t count, Range part) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t stride = partial_stride(hidden_size);
  const auto sum_at = [&](std::int64_t i) {
    const auto leaf = [&](std::int64_t row) {
      return load_floats<false>(partials + row * stride + i);
    };
    const auto add = [](VecPair left, VecPair right) { return left + right; };
    if (count == 0) return zero_pair();
    return neighbour_tree(static_cast<int>(count), leaf, add);
  };
  const auto finish = [&](T* dweight, VecPair sum) {
    if (args.accumulate) sum = read_pair<X>(dweight) + sum;
    if constexpr (__is_same(T, X)) {
      store_pair<X, Floats::kAny>(dweight, sum);
    } else {
      store_floats<kInterleaved<X>>(dweight, sum);
    }
  };
  // Of an edge only the columns that no whole VecPair has: [begin, end) of dweight + first.
  T* const dweight = static_cast<T*>(args.dweight);
  const auto finish_edge = [&](std::int64_t first, std::int64_t begin, std::int64_t end,
                               VecPair sum) {
    alignas(64) T values[kPairColumns] = {};
    for (std::int64_t i = begin; i < end; ++i) values[i] = dweight[first + i];
    finish(values, sum);
    for (std::int64_t i = begin; i < end; ++i) dweight[first + i] = values[i];
  };

  if (hidden_size < kPairColumns) {
    if (part.begin == 0) finish_edge(0, 0, hidden_size, sum_at(0));
    return;
  }
  const AlignedBody body = backward_body<X>(args);
  std::int64_t i = 0;
  const auto is_mine = [&] { return i >= part.begin && i < part.end; };
  if (body.begin > 0) {
    if (is_mine()) finish_edge(0, 0, body.begin, sum_at(i));
    i += kPairColumns;
  }
  for (std::int64_t j = body.begin; j < body.end; j += kPairColumns, i += kPairColumns) {
    if (is_mine()) finish(dweight + j, sum_at(i));
  }
  if (body.end < hidden_size && is_mine()) {
    finish_edge(body.tail, body.end - body.tail, kPairColumns, sum_at(i));
  }
}

void finish_dweight(const BackwardArgs& args, const void* partial_sums, std::int64_t count,
                    Range part) {
  if (args.dtype == DType::kFloat64) {
    return reference::finish_dweight<double>(args, partial_sums, count, part);
  }
  const float* const partials = static_cast<const float*>(partial_sums);
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      finish_pairs<X, float>(args, partials, count, part);
    } else {
      finish_pairs<X, X>(args, partials, count, part);
    }
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
