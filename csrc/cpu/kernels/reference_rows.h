// The numerics contract (fold.h) in simple loops, one column at a time. The scalar variant uses
// only these loops; the other variants use them for float64 tensors and rescaled passes. They call
// no library function; variant_avx2.cc says why.
#pragma once

#include "../../op/float16.h"
#include "../../op/fold.h"
#include "../../op/formula.h"
#include "../../op/quantize.h"
#include "../../op/silu.h"
#include "../simd/types.h"

namespace rmsnorm::cpu {
namespace {
namespace reference {

// load(value) converts an element to the type that it is computed in, and FloatOf is that type.
// cast<T>(value) rounds a result to T.
inline double load(double value) { return value; }
template <class X>
float load(X value) {
  return to_float(value);
}
template <class X>
using FloatOf = decltype(load(X{}));
template <class T, class Float>
T cast(Float value) {
  if constexpr (__is_same(T, Float)) {
    return value;
  } else {
    return from_float<T>(value);
  }
}

// w of one column: weight + offset; 1 without a weight, which changes nothing.
template <class X>
class Weights {
 public:
  using Float = FloatOf<X>;

  Weights(const Weight& weight, DType dtype, const Options& options)
      : data_(weight.data),
        is_own_(__is_same(X, double) || weight.dtype == dtype),
        offset_(static_cast<Float>(options.weight_offset)) {}

  Float at(std::int64_t j) const {
    if (data_ == nullptr) return 1;
    const Float w = is_own_ ? load(static_cast<const X*>(data_)[j])
                            : Float(static_cast<const float*>(data_)[j]);
    return offset_ == 0 ? w : w + offset_;
  }

 private:
  const void* data_;
  bool is_own_;  // the weights have type X; else float32
  Float offset_;
};

// T(value) in Llama's order, else value.
template <class X, bool kLlama>
struct Rounding {
  FloatOf<X> operator()(FloatOf<X> value) const { return kLlama ? load(cast<X>(value)) : value; }
};

// sum_tiles (fold.h), compiled once for all kinds of `fill`.
template <class Float>
[[gnu::noinline]] Float sum_tiles_of(
    std::int64_t tiles,
    FunctionRef<void(std::int64_t first, std::int64_t stride, std::int64_t count, Float*)> fill) {
  alignas(64) Float buffer[kBufferedTiles];
  return sum_tiles(bit_ceil(tiles), 0, 1, buffer, fill);
}

// The sum over a row of a(j) * b(j), in the order of the contract.
template <class Float, class A, class B>
[[gnu::noinline]] Float fold(std::int64_t hidden_size, const A& a, const B& b) {
  // Captures by value: captured references would be read from memory after every sum.
  const auto tile_sum = [=](std::int64_t tile) {
    Float acc[kAccumulators] = {};
    std::int64_t j = tile * kTileColumns;
    const std::int64_t end = hidden_size - j < kTileColumns ? hidden_size : j + kTileColumns;
    for (; j + kAccumulators <= end; j += kAccumulators) {
      for (std::int64_t i = 0; i < kAccumulators; ++i)
        acc[i] = rmsnorm::fma(a(j + i), b(j + i), acc[i]);
    }
    for (std::int64_t i = 0; j + i < end; ++i) acc[i] = rmsnorm::fma(a(j + i), b(j + i), acc[i]);
    return halving_sum(acc, kAccumulators);
  };
  const std::int64_t tiles = tile_count(hidden_size);
  const auto fill = [=](std::int64_t first, std::int64_t stride, std::int64_t count, Float* sums) {
    const auto sum_of = tile_sum;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t tile = first + i * stride;
      sums[i] = tile < tiles ? sum_of(tile) : 0;
    }
  };
  return sum_tiles_of<Float>(tiles, fill);
}

// The number at column j of a row, in the type that it is computed in. For gated rows, every such
// function is passed as a GatedNumberAt, so that the code that calls it is compiled once.
template <class X>
struct NumberAt {
  const X* data;

  FloatOf<X> operator()(std::int64_t j) const { return load(data[j]); }
};
using GatedNumberAt = FunctionRef<float(std::int64_t)>;

// The function of a product's second factor. If the first parameter, the function of the first
// factor, is a GatedNumberAt, returns a GatedNumberAt that refers to `function`, else `function`.
template <class X, class Function>
Function erased_like(const NumberAt<X>&, const Function& function) {
  return function;
}
template <class Function>
GatedNumberAt erased_like(const GatedNumberAt&, const Function& function) {
  return function;
}

// Whether a call has a gate of this order. Tensors of float64 have none.
template <class X, class Args>
constexpr bool has_gate(const Args& args, GateOrder order) {
  return !__is_same(X, double) && args.gate.data != nullptr && args.options.gate_order == order;
}

// A function of the column j that gives x of a row, gated before the norm.
template <class X>
auto gated_x_at(const ConstRows& x, const ConstRows& gate, std::int64_t row) {
  const NumberAt<X> x_at{row_of<X>(x, row)};
  const NumberAt<X> gate_at{row_of<X>(gate, row)};
  return [=](std::int64_t j) { return gated_x_of(x_at(j), silu(gate_at(j))); };
}

// Calls function(x_at) for a row of a call. x_at(j) is what is normalised: x, or x * silu(gate)
// with a gate before the norm.
template <class X, class Args, class Function>
void with_x(const Args& args, std::int64_t row, const Function& function) {
  if constexpr (!__is_same(X, double)) {
    if (has_gate<X>(args, GateOrder::kBeforeNorm)) {
      const auto x_at = gated_x_at<X>(args.x, args.gate, row);
      return function(GatedNumberAt(x_at));
    }
  }
  function(NumberAt<X>{row_of<X>(args.x, row)});
}

// Calls function(dy_at, x_at) for a row of a call. dy_at(j) is the gradient of the normalised row:
// dy, or dn (fold.h) with a gate after the norm. x_at is as in with_x.
template <class X, bool kLlama, class Function>
void with_dy_and_x(const BackwardArgs& args, std::int64_t row, const Function& function) {
  const NumberAt<X> dy_at{row_of<X>(args.dy, row)};
  const NumberAt<X> x_at{row_of<X>(args.x, row)};
  if constexpr (!__is_same(X, double)) {
    if (has_gate<X>(args, GateOrder::kBeforeNorm)) {
      const auto gated_at = gated_x_at<X>(args.x, args.gate, row);
      return function(GatedNumberAt(dy_at), GatedNumberAt(gated_at));
    }
    if (has_gate<X>(args, GateOrder::kAfterNorm)) {
      const NumberAt<X> gate_at{row_of<X>(args.gate, row)};
      const auto dn_at = [=](std::int64_t j) {
        return dn_of(dy_at(j), silu(gate_at(j)), Rounding<X, kLlama>{});
      };
      return function(GatedNumberAt(dn_at), GatedNumberAt(x_at));
    }
  }
  function(dy_at, x_at);
}

// rstd of a row, with a rescaled pass if it needs one.
template <class Float, class XAt>
Float rstd_of_row(const XAt& x_at, std::int64_t hidden_size, Float eps) {
  const auto fold_scaled = [&](Float f) {
    const auto scaled_at = [x_at, f](std::int64_t j) { return x_at(j) * f; };
    return fold<Float>(hidden_size, scaled_at, scaled_at);
  };
  const Float inverse_size = inverse<Float>(hidden_size);
  const Float sum = fold_scaled(1);
  const Float f = rescale_factor(sum, eps);
  return f == 1 ? rstd_of(sum, inverse_size, eps)
                : rescaled_rstd(fold_scaled(f), inverse_size, eps, f);
}

// cbar of a row, with a rescaled pass if it needs one.
template <class X, bool kLlama, class DyAt, class XAt>
FloatOf<X> cbar_of_row(const DyAt& dy_at, const XAt& x_at, const Weights<X>& weights,
                       std::int64_t hidden_size, FloatOf<X> rstd) {
  using Float = FloatOf<X>;
  const auto gradient_at = [=](std::int64_t j) {
    return g_of(dy_at(j), weights.at(j), Rounding<X, kLlama>{});
  };
  const auto g_at = erased_like(dy_at, gradient_at);
  const auto fold_scaled = [&](Float f) {
    return fold<Float>(hidden_size, g_at, [x_at, f](std::int64_t j) { return x_at(j) * f; });
  };
  const Float inverse_size = inverse<Float>(hidden_size);
  const Float sum = fold_scaled(1);
  if (is_gradient_sum_final(sum, rstd)) return cbar_of(sum, rstd, inverse_size);
  const Float f = power_of_two(rstd);
  return cbar_of(fold_scaled(f), rstd * (1 / f), inverse_size);
}

template <class X>
void add_residual(const ForwardArgs& args, std::int64_t row) {
  const X* x = row_of<X>(args.x, row);
  const X* residual = row_of<X>(args.residual, row);
  X* sum = row_of<X>(args.sum, row);
  for (std::int64_t j = 0; j < args.shape.hidden_size; ++j) {
    sum[j] = cast<X>(load(x[j]) + load(residual[j]));
  }
}

// Writes the codes of a row of y, and its scale. Compiled once for all kinds of rows.
[[gnu::noinline]] inline void quantize_row(const ForwardArgs& args, std::int64_t row,
                                           FunctionRef<float(std::int64_t)> y_at) {
  const Quantization& quantization = args.quantization;
  const std::int64_t hidden_size = args.shape.hidden_size;
  auto* const codes = row_of<std::uint8_t>(args.y, row);
  const bool is_own = quantization.scale == 0;
  float scale = quantization.scale;
  if (is_own) {
    std::uint32_t largest = 0;
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      const std::uint32_t magnitude = magnitude_bits(y_at(j));
      if (magnitude > largest) largest = magnitude;
    }
    scale = scale_of(largest, quantization);
    if (args.scales != nullptr) args.scales[row] = scale;
  }
  for (std::int64_t j = 0; j < hidden_size; ++j) {
    const std::uint32_t code = code_of(quantization.codes, quotient_of(y_at(j), scale, is_own));
    codes[j] = static_cast<std::uint8_t>(code);
  }
}

template <class X, bool kLlama>
void normalise_row(const ForwardArgs& args, std::int64_t row) {
  using Float = FloatOf<X>;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, args.dtype, args.options);
  const Rounding<X, kLlama> round;
  with_x<X>(args, row, [&](const auto& x_at) {
    const Float rstd = rstd_of_row(x_at, hidden_size, static_cast<Float>(args.options.eps));
    if (args.rstd != nullptr) static_cast<Float*>(args.rstd)[row] = rstd;
    // Captures by value: captured references would be read from memory after every store.
    const auto write = [=, &args](const auto& y_of_xhat) {
      const auto y_at = [=](std::int64_t j) { return y_of_xhat(j, xhat_of(x_at(j), rstd)); };
      if constexpr (!__is_same(X, double)) {
        if (args.quantization.is_wanted()) {
          const auto rounded_at = [=](std::int64_t j) { return round(y_at(j)); };
          return quantize_row(args, row, rounded_at);
        }
      }
      X* const y = row_of<X>(args.y, row);
      for (std::int64_t j = 0; j < hidden_size; ++j) y[j] = cast<X>(y_at(j));
    };
    if constexpr (!__is_same(X, double)) {
      if (has_gate<X>(args, GateOrder::kAfterNorm)) {
        const X* gate = row_of<X>(args.gate, row);
        return write([=](std::int64_t j, float xhat) {
          return gated_y_of(xhat, weights.at(j), silu(load(gate[j])), round);
        });
      }
    }
    write([=](std::int64_t j, Float xhat) { return y_of(xhat, weights.at(j), round); });
  });
}

template <class X, bool kLlama>
void forward_row(const ForwardArgs& args, std::int64_t row) {
  if (args.residual.data == nullptr) return normalise_row<X, kLlama>(args, row);
  add_residual<X>(args, row);
  ForwardArgs sums = args;
  const Rows& sum = args.sum;
  sums.x = {sum.data, sum.row_stride, sum.batch_rows, sum.batch_stride};
  normalise_row<X, kLlama>(sums, row);
}

// Column j of dgate. `dx` is at first the gradient of what is normalised, then the gradient of x.
template <class X, bool kLlama>
[[gnu::noinline]] float dgate_at(const BackwardArgs& args, std::int64_t row, std::int64_t j,
                                 float xhat, float w, float& dx) {
  const float z = load(row_of<X>(args.gate, row)[j]);
  const float derivative = silu_derivative(z);
  if (has_gate<X>(args, GateOrder::kAfterNorm)) {
    const float normed = normed_of(xhat, w, Rounding<X, kLlama>{});
    return dgate_of(load(row_of<X>(args.dy, row)[j]), normed, derivative);
  }
  const float dgate = dgate_of(dx, load(row_of<X>(args.x, row)[j]), derivative);
  dx = gated_dx_of(dx, silu(z));
  return dgate;
}

template <class X, bool kLlama>
void backward_row(const BackwardArgs& args, std::int64_t row, FloatOf<X>* partial) {
  using Float = FloatOf<X>;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, args.dtype, args.options);
  const Rounding<X, kLlama> round;
  with_dy_and_x<X, kLlama>(args, row, [&](const auto& dy_at, const auto& x_at) {
    const Float rstd = args.rstd != nullptr
                           ? static_cast<const Float*>(args.rstd)[row]
                           : rstd_of_row(x_at, hidden_size, static_cast<Float>(args.options.eps));
    const auto xhat_at = [&](std::int64_t j) { return xhat_of(x_at(j), rstd); };
    if (partial != nullptr) {
      for (std::int64_t j = 0; j < hidden_size; ++j) {
        partial[j] = add_to_dweight(partial[j], dy_at(j), xhat_at(j), round);
      }
    }
    if (args.dx.data == nullptr) return;
    const Float cbar = cbar_of_row<X, kLlama>(dy_at, x_at, weights, hidden_size, rstd);
    const X* dsum = args.dsum.data == nullptr ? nullptr : row_of<X>(args.dsum, row);
    X* dx = row_of<X>(args.dx, row);
    const auto dx_at = [&](std::int64_t j) {
      return dx_of(g_of(dy_at(j), weights.at(j), round), xhat_at(j), rstd, -cbar);
    };
    const auto write = [&](std::int64_t j, Float value) {
      dx[j] = cast<X>(dsum == nullptr ? value : value + load(dsum[j]));
    };
    if constexpr (!__is_same(X, double)) {
      if (args.gate.data != nullptr) {
        X* dgate = row_of<X>(args.dgate, row);
        for (std::int64_t j = 0; j < hidden_size; ++j) {
          float value = dx_at(j);
          dgate[j] = cast<X>(dgate_at<X, kLlama>(args, row, j, xhat_at(j), weights.at(j), value));
          write(j, value);
        }
        return;
      }
    }
    for (std::int64_t j = 0; j < hidden_size; ++j) write(j, dx_at(j));
  });
}

template <class X, bool kLlama>
void forward(const ForwardArgs& args, Range rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) forward_row<X, kLlama>(args, row);
}

template <class X, bool kLlama>
void backward(const BackwardArgs& args, Range rows, void* partial_sums) {
  auto* const partial = static_cast<FloatOf<X>*>(partial_sums);
  if (partial != nullptr) {
    for (std::int64_t j = 0; j < partial_stride(args.shape.hidden_size); ++j) partial[j] = 0;
  }
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    backward_row<X, kLlama>(args, row, partial);
  }
}

template <class Float>
void add_partial(Float* sum, const Float* partial, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += partial[i];
}
inline void add_partial(DType dtype, void* sum, const void* partial, std::int64_t count) {
  if (dtype == DType::kFloat64) {
    add_partial(static_cast<double*>(sum), static_cast<const double*>(partial), count);
  } else {
    add_partial(static_cast<float*>(sum), static_cast<const float*>(partial), count);
  }
}

// kPartialColumns numbers of a row of partial sums.
template <class Float>
struct Partials {
  Float values[kPartialColumns];
};

template <class T>
void reduce_dweight(const BackwardArgs& args, const void* partial_sums, std::int64_t count,
                    Range range) {
  using Float = FloatOf<T>;
  const auto* const partials = static_cast<const Float*>(partial_sums);
  const std::int64_t stride = partial_stride(args.shape.hidden_size);
  T* dweight = static_cast<T*>(args.dweight);
  for (std::int64_t begin = range.begin; begin < range.end; begin += kPartialColumns) {
    const auto leaf = [&](std::int64_t i) {
      Partials<Float> sums;
      for (std::int64_t j = 0; j < kPartialColumns; ++j) {
        sums.values[j] = partials[i * stride + begin + j];
      }
      return sums;
    };
    const auto add = [](Partials<Float> sums, const Partials<Float>& others) {
      add_partial(sums.values, others.values, kPartialColumns);
      return sums;
    };
    Partials<Float> sums{};
    if (count > 0) sums = neighbour_tree(static_cast<int>(count), leaf, add);
    for (std::int64_t j = 0; j < kPartialColumns && begin + j < args.shape.hidden_size; ++j) {
      T& out = dweight[begin + j];
      out = cast<T>(args.accumulate ? load(out) + sums.values[j] : sums.values[j]);
    }
  }
}

}  // namespace reference
}  // namespace
}  // namespace rmsnorm::cpu
