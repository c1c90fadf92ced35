// Forward of any call, with or without a residual.
#pragma once

#include "batched_rows.h"
#include "quantized_rows.h"

namespace rmsnorm::cpu {
namespace {

// Sums of x and residual are computed for blocks of rows of at most this many bytes, or for one
// longer row. So the sums stay in the nearest caches until they are normalised.
static constexpr std::int64_t kSumBytes = 16 << 10;

// Writes the sum of a row and, if `cached_copy` is not null, a copy of it that stays in the caches.
template <class X, Stores kStores>
struct SumWriter {
  X* data;
  X* cached_copy;

  RMSNORM_INLINE void at(std::int64_t j, VecPair value) const {
    RowWriter<X, Floats::kQuietNaN, kStores>{data}.at(j, value);
    if (cached_copy != nullptr) store_pair<X, Floats::kQuietNaN>(cached_copy + j, value);
  }
  RMSNORM_INLINE void edge(std::int64_t j, std::int64_t begin, std::int64_t end,
                           VecPair value) const {
    RowWriter<X, Floats::kQuietNaN, kStores>{data}.edge(j, begin, end, value);
    if (cached_copy != nullptr) store_pair<X, Floats::kQuietNaN>(cached_copy + j, value);
  }
};

template <class X, Stores kStores>
[[gnu::noinline]] void add_residual(const ForwardArgs& args, std::int64_t row, X* cached_copy) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const X* const x = row_of<X>(args.x, row);
  const X* const residual = row_of<X>(args.residual, row);
  const SumWriter<X, kStores> sum{row_of<X>(args.sum, row), cached_copy};
  if (hidden_size < kPairColumns) {
    const VecPair value =
        load_masked<X>(x, 0, hidden_size) + load_masked<X>(residual, 0, hidden_size);
    store_masked<X, Floats::kQuietNaN>(sum.data, 0, hidden_size, value);
    if (cached_copy != nullptr)
      store_masked<X, Floats::kQuietNaN>(cached_copy, 0, hidden_size, value);
    return;
  }
  const bool descending = kStores == Stores::kCached && prefer_descending(sum.data, x, residual);
  write_row(sum, hidden_size, descending, [=](std::int64_t column) {
    return [=](std::int64_t j) {
      return load_pair<X>(x + column + j) + load_pair<X>(residual + column + j);
    };
  });
}

using Forward = void (*)(const ForwardArgs& args, Range rows, Stores stores, const void* prepared);

// For each block of rows, computes x + residual, then calls `normalise` with these sums as x. Sums
// that stream to memory are normalised from a copy, in a ring buffer that holds one block of rows.
template <class X, Stores kStores>
[[gnu::noinline]] void forward_sums(const ForwardArgs& args, Range rows, Stores stores,
                                    const void* prepared, Forward normalise) {
  constexpr std::int64_t kElements = kSumBytes / static_cast<std::int64_t>(sizeof(X));
  const std::int64_t stride = ceil_div(args.shape.hidden_size, kPairColumns) * kPairColumns;
  const std::int64_t fitting = kElements / stride;
  // A multiple of 16 rows if at least 16 fit, because the row sums of up to 16 short rows are
  // computed at once.
  const std::int64_t block = fitting < 1 ? 1 : fitting < 16 ? fitting : fitting / 16 * 16;
  const bool streaming = kStores == Stores::kStreaming && fitting >= 1;
  alignas(64) X ring[kStores == Stores::kStreaming ? kElements : 1];

  ForwardArgs sums = args;
  const Rows& out = args.sum;
  sums.x = {out.data, out.row_stride, out.batch_rows, out.batch_stride};
  if (streaming) sums.x = {ring, stride, block, 0};
  for (std::int64_t first = rows.begin; first < rows.end; first += block) {
    const std::int64_t end = rows.end - first < block ? rows.end : first + block;
    for (std::int64_t row = first; row < end; ++row) {
      if (streaming) {
        add_residual<X, kStores>(args, row, ring + row % block * stride);
      } else {
        add_residual<X, Stores::kCached>(args, row, nullptr);
      }
    }
    normalise(sums, {first, end}, stores, prepared);
  }
}

// y and rstd of rows of x, or of x + residual. Without weights nothing is rounded twice, so the
// cast order does not matter.
template <class X, bool kLlama, Stores kStores>
void forward_rows_or_sums(const ForwardArgs& args, Range rows, Stores stores,
                          const void* prepared) {
  const Forward normalise = args.quantization.is_wanted() ? quantized_rows<X, kLlama>
                            : args.gate.data != nullptr   ? forward_gated_rows<X, kLlama>
                            : args.weight.data != nullptr
                                ? forward_rows<Scaling<X, true, kLlama, kStores>>
                                : forward_rows<Scaling<X, false, false, kStores>>;
  if (args.residual.data == nullptr) {
    normalise(args, rows, stores, prepared);
  } else {
    forward_sums<X, kStores>(args, rows, stores, prepared, normalise);
  }
  if (stores == Stores::kStreaming) stream_fence();
}

void forward(const ForwardArgs& args, Range rows, Stores stores, const void* prepared) {
  if (args.dtype == DType::kFloat64) return reference::forward<double, false>(args, rows);
  with_order(args.dtype, args.options.cast_order, [&](auto x, auto llama) {
    using X = typename decltype(x)::Type;
    if (stores == Stores::kStreaming) {
      forward_rows_or_sums<X, llama.value, kStreaming<X>>(args, rows, stores, prepared);
    } else {
      forward_rows_or_sums<X, llama.value, Stores::kCached>(args, rows, stores, prepared);
    }
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
