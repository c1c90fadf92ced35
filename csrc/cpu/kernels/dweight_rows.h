// dweight from the partial sums of backward_columns.h.
#pragma once

#include "../simd/rows.h"
#include "backward_columns.h"
#include "reference_rows.h"

namespace rmsnorm::cpu {
namespace {

// Writes dweight, of type T, from the positions `range` of the `count` rows of partial sums. Their
// VecPairs are in X's order.
template <class X, class T>
void reduce_pairs(const BackwardArgs& args, const float* partials, std::int64_t count,
                  Range range) {
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
  const auto write = [&](T* dweight, VecPair sum) {
    if (args.accumulate) sum = read_pair<X>(dweight) + sum;
    if constexpr (__is_same(T, X)) {
      store_pair<X, Floats::kAny>(dweight, sum);
    } else {
      store_floats<kInterleaved<X>>(dweight, sum);
    }
  };
  // Writes the columns of the head or the tail that are outside the body: [begin, end) of dweight +
  // first.
  T* const dweight = static_cast<T*>(args.dweight);
  const auto write_edge = [&](std::int64_t first, std::int64_t begin, std::int64_t end,
                              VecPair sum) {
    alignas(64) T values[kPairColumns] = {};
    for (std::int64_t i = begin; i < end; ++i) values[i] = dweight[first + i];
    write(values, sum);
    for (std::int64_t i = begin; i < end; ++i) dweight[first + i] = values[i];
  };

  // A row shorter than a VecPair is all tail.
  const AlignedBody body =
      hidden_size < kPairColumns ? AlignedBody{0, 0, 0} : backward_body<X>(args);
  const std::int64_t head = body.begin > 0 ? kPairColumns : 0;
  const std::int64_t tail = head + (body.end - body.begin);
  if (range.begin < head) write_edge(0, 0, body.begin, sum_at(0));
  if (!sums_are_dweight<X>(args)) {
    const std::int64_t end = range.end < tail ? range.end : tail;
    for (std::int64_t i = range.begin < head ? head : range.begin; i < end; i += kPairColumns) {
      write(dweight + body.begin + (i - head), sum_at(i));
    }
  }
  if (body.end < hidden_size && range.begin <= tail && tail < range.end) {
    write_edge(body.tail, body.end - body.tail, hidden_size - body.tail, sum_at(tail));
  }
}

void reduce_dweight(const BackwardArgs& args, const void* partial_sums, std::int64_t count,
                    Range range) {
  if (args.dtype == DType::kFloat64) {
    return reference::reduce_dweight<double>(args, partial_sums, count, range);
  }
  const float* const partials = static_cast<const float*>(partial_sums);
  with_dtype(args.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    if (args.dweight_dtype == DType::kFloat32) {
      reduce_pairs<X, float>(args, partials, count, range);
    } else {
      reduce_pairs<X, X>(args, partials, count, range);
    }
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
