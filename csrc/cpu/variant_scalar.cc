// The readable statement of the numerics contract (fold.h), one column at a time. It is the variant
// of processors without SIMD that we use, and what the other variants are tested against.

#include <cmath>

#include "../float16.h"
#include "variant.h"

namespace rmsnorm::cpu {
namespace {

#include "types.inl"

// The weight of one column as a float: weight + offset, or 1.
template <class W>
float weight_at(const Weight& weight, float offset, std::int64_t j) {
  if constexpr (__is_same(W, NoWeight)) {
    return 1.0f;
  } else {
    const float w = to_float(static_cast<const W*>(weight.data)[j]);
    return offset == 0.0f ? w : w + offset;
  }
}

// y before its cast: xhat * w, with T(xhat) in Llama's order.
template <class X, class W, bool kLlama>
float scaled(float xhat, float w) {
  const float rounded = kLlama ? round_to<X>(xhat) : xhat;
  return __is_same(W, NoWeight) ? rounded : rounded * w;
}

// g = dy * w, T(dy * w) in Llama's order.
template <class X, class W, bool kLlama>
float weighted(float dy, float w) {
  if (__is_same(W, NoWeight)) return dy;
  return kLlama ? round_to<X>(dy * w) : dy * w;
}

// The sum over a row of a(j) * b(j), as the contract folds it.
template <class A, class B>
float fold(std::int64_t hidden_size, const A& a, const B& b) {
  const auto tile_sum = [&](std::int64_t tile) {
    float acc[kAccumulators] = {};
    const std::int64_t begin = tile * kTileColumns;
    for (std::int64_t j = begin; j < begin + kTileColumns && j < hidden_size; ++j) {
      acc[j % kAccumulators] = std::fma(a(j), b(j), acc[j % kAccumulators]);
    }
    return halving_sum(acc, kAccumulators);
  };
  const std::int64_t tiles = tile_count(hidden_size);
  const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t count, float* sums) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t tile = first + i * stride;
      sums[i] = tile < tiles ? tile_sum(tile) : 0.0f;
    }
  };
  float buffer[kBufferedTiles];
  return sum_tiles(bit_ceil(tiles), 0, 1, buffer, fill);
}

float rstd_of(float sum, float inverse_size, float eps) {
  const float mean = sum * inverse_size;
  return 1.0f / std::sqrt(mean + eps);
}

template <class X>
void add_residual(const ForwardArgs& args, std::int64_t row) {
  const X* x = row_of<X>(args.x, row);
  const X* residual = row_of<X>(args.residual, row);
  X* sum = row_of<X>(args.residual_out, row);
  for (std::int64_t j = 0; j < args.shape.hidden_size; ++j) {
    sum[j] = from_float<X>(to_float(x[j]) + to_float(residual[j]));
  }
}

template <class X, class W, bool kLlama>
void forward_row(const ForwardArgs& args, std::int64_t row) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const bool has_residual = args.residual.data != nullptr;
  if (has_residual) add_residual<X>(args, row);
  const X* x = has_residual ? row_of<X>(args.residual_out, row) : row_of<X>(args.x, row);
  X* y = row_of<X>(args.y, row);

  const auto x_at = [x](std::int64_t j) { return to_float(x[j]); };
  const float rstd = rstd_of(fold(hidden_size, x_at, x_at), inverse(hidden_size),
                             static_cast<float>(args.options.eps));
  if (args.rstd != nullptr) static_cast<float*>(args.rstd)[row] = rstd;
  for (std::int64_t j = 0; j < hidden_size; ++j) {
    const float w = weight_at<W>(args.weight, static_cast<float>(args.options.weight_offset), j);
    y[j] = from_float<X>(scaled<X, W, kLlama>(to_float(x[j]) * rstd, w));
  }
}

template <class X, class W, bool kLlama>
void backward_row(const BackwardArgs& args, std::int64_t row, float* partial) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const float inverse_size = inverse(hidden_size);
  const X* dy = row_of<X>(args.dy, row);
  const X* x = row_of<X>(args.x, row);

  const auto x_at = [x](std::int64_t j) { return to_float(x[j]); };
  const auto g_at = [&](std::int64_t j) {
    const float w = weight_at<W>(args.weight, static_cast<float>(args.options.weight_offset), j);
    return weighted<X, W, kLlama>(to_float(dy[j]), w);
  };
  const float rstd = args.rstd != nullptr ? static_cast<const float*>(args.rstd)[row]
                                          : rstd_of(fold(hidden_size, x_at, x_at), inverse_size,
                                                    static_cast<float>(args.options.eps));

  if (partial != nullptr) {
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      const float xhat = to_float(x[j]) * rstd;
      partial[j] = std::fma(to_float(dy[j]), kLlama ? round_to<X>(xhat) : xhat, partial[j]);
    }
  }
  if (args.dx.data != nullptr) {
    X* dx = row_of<X>(args.dx, row);
    const bool has_residual = args.dresidual_out.data != nullptr;
    const X* dresidual_out = has_residual ? row_of<X>(args.dresidual_out, row) : nullptr;
    const float cbar = fold(hidden_size, g_at, x_at) * rstd * inverse_size;
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      const float xhat = to_float(x[j]) * rstd;
      const float dx_j = rstd * std::fma(-xhat, cbar, g_at(j));
      dx[j] = from_float<X>(has_residual ? dx_j + to_float(dresidual_out[j]) : dx_j);
    }
  }
}

void forward(const ForwardArgs& args, Range rows, Stores) {
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      forward_row<typename decltype(x)::Type, typename decltype(w)::Type, llama.value>(args, row);
    }
  });
}

void backward(const BackwardArgs& args, Range rows, Stores, float* partial) {
  if (partial != nullptr) {
    for (std::int64_t j = 0; j < partial_stride(args.shape.hidden_size); ++j) partial[j] = 0.0f;
  }
  with_types(args.dtype, args.weight, args.options.cast_order, [&](auto x, auto w, auto llama) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      backward_row<typename decltype(x)::Type, typename decltype(w)::Type, llama.value>(args, row,
                                                                                        partial);
    }
  });
}

void add_partial(float* sum, const float* partial, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += partial[i];
}

// The neighbour-first tree over `count` values, stride floats apart. A complete left subtree of the
// largest power of two below count, and what is left: where an odd one passes through, the same.
float tree_sum(const float* values, std::int64_t count, std::int64_t stride) {
  if (count == 1) return values[0];
  const std::int64_t left = bit_ceil(count) / 2;
  return tree_sum(values, left, stride) + tree_sum(values + left * stride, count - left, stride);
}

void finish_dweight(const BackwardArgs& args, const float* partials, std::int64_t count,
                    Range part) {
  const std::int64_t stride = partial_stride(args.shape.hidden_size);
  with_dtype(args.dweight_dtype, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    T* dweight = static_cast<T*>(args.dweight);
    for (std::int64_t j = part.begin; j < part.end && j < args.shape.hidden_size; ++j) {
      const float sum = count == 0 ? 0.0f : tree_sum(partials + j, count, stride);
      dweight[j] = from_float<T>(args.accumulate ? to_float(dweight[j]) + sum : sum);
    }
  });
}

void convert(DType from, const void* source, DType to, void* destination, std::int64_t count) {
  with_dtype(from, [&](auto from_tag) {
    using From = typename decltype(from_tag)::Type;
    with_dtype(to, [&](auto to_tag) {
      using To = typename decltype(to_tag)::Type;
      for (std::int64_t i = 0; i < count; ++i) {
        const float value = to_float(static_cast<const From*>(source)[i]);
        static_cast<To*>(destination)[i] = from_float<To>(value);
      }
    });
  });
}

}  // namespace

const Variant kScalar{"scalar", 0,           nullptr,        forward,
                      backward, add_partial, finish_dweight, convert};

}  // namespace rmsnorm::cpu
