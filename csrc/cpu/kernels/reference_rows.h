// The numerics contract (fold.h) in plain loops, one column at a time: all that scalar computes
// and, of the other variants, float64 and the folds that are taken again. Included into each
// variant's unnamed namespace, after types.h; of libraries it uses nothing (see variant_avx2.cc).
namespace plain {

// What tensors of X are computed in.
template <class X>
struct Computed {
  using Float = float;
};
template <>
struct Computed<double> {
  using Float = double;
};
template <class X>
using FloatOf = typename Computed<X>::Float;

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float sqrt(float value) { return __builtin_sqrtf(value); }
inline double sqrt(double value) { return __builtin_sqrt(value); }

// A number as it is computed with, and T(value).
template <class X>
FloatOf<X> load(X value) {
  if constexpr (__is_same(X, double)) {
    return value;
  } else {
    return to_float(value);
  }
}
template <class T, class Float>
T cast(Float value) {
  if constexpr (__is_same(T, Float)) {
    return value;
  } else {
    return from_float<T>(value);
  }
}

// w of one column: weight + offset, or 1, by which nothing changes.
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
  bool is_own_;  // of X; else of float32
  Float offset_;
};

// y before its cast: xhat * w, with T(xhat) in Llama's order.
template <class X, bool kLlama, class Float>
Float scaled(Float xhat, Float w) {
  return (kLlama ? load(cast<X>(xhat)) : xhat) * w;
}

// g = dy * w, T(dy * w) in Llama's order.
template <class X, bool kLlama, class Float>
Float weighted(Float dy, Float w) {
  return kLlama ? load(cast<X>(dy * w)) : dy * w;
}

// sum_tiles (fold.h), compiled once for all that fill.
template <class Float>
using FillTiles =
    FunctionRef<void(std::int64_t first, std::int64_t stride, std::int64_t count, Float* sums)>;
template <class Float>
[[gnu::noinline]] Float sum_tiles_of(std::int64_t tiles, FillTiles<Float> fill) {
  alignas(64) Float buffer[kBufferedTiles];
  return sum_tiles(bit_ceil(tiles), 0, 1, buffer, fill);
}

// The sum over a row of a(j) * b(j), as the contract folds it.
template <class Float, class A, class B>
[[gnu::noinline]] Float fold(std::int64_t hidden_size, const A& a, const B& b) {
  // Copies, lest memory be read for what they hold after every sum.
  const auto tile_sum = [=](std::int64_t tile) {
    Float acc[kAccumulators] = {};
    std::int64_t j = tile * kTileColumns;
    const std::int64_t end = hidden_size - j < kTileColumns ? hidden_size : j + kTileColumns;
    for (; j + kAccumulators <= end; j += kAccumulators) {
      for (std::int64_t i = 0; i < kAccumulators; ++i) acc[i] = fma(a(j + i), b(j + i), acc[i]);
    }
    for (std::int64_t i = 0; j + i < end; ++i) acc[i] = fma(a(j + i), b(j + i), acc[i]);
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

// rstd of a row, its fold taken again where it must.
template <class X>
FloatOf<X> rstd_of(const X* x, std::int64_t hidden_size, FloatOf<X> eps) {
  using Float = FloatOf<X>;
  const auto fold_scaled = [&](Float f) {
    const auto x_at = [x, f](std::int64_t j) { return load(x[j]) * f; };
    return fold<Float>(hidden_size, x_at, x_at);
  };
  const auto finish = [&](Float sum, Float f) {
    const Float mean = sum * inverse<Float>(hidden_size);
    return 1 / sqrt(mean + eps * f * f) * f;
  };
  const Float sum = fold_scaled(1);
  const Float f = rescale_factor(sum, eps);
  return f == 1 ? finish(sum, 1) : finish(fold_scaled(f), f);
}

// cbar of a row, likewise.
template <class X, bool kLlama>
FloatOf<X> cbar_of(const X* dy, const X* x, const Weights<X>& weights, std::int64_t hidden_size,
                   FloatOf<X> rstd) {
  using Float = FloatOf<X>;
  const auto g_at = [=](std::int64_t j) { return weighted<X, kLlama>(load(dy[j]), weights.at(j)); };
  const auto fold_scaled = [&](Float f) {
    return fold<Float>(hidden_size, g_at, [x, f](std::int64_t j) { return load(x[j]) * f; });
  };
  const Float sum = fold_scaled(1);
  if (gradient_fold_stands(sum, rstd)) return sum * rstd * inverse<Float>(hidden_size);
  const Float f = power_of_two(rstd);
  return fold_scaled(f) * (rstd * (1 / f)) * inverse<Float>(hidden_size);
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

template <class X, bool kLlama>
void forward_row(const ForwardArgs& args, std::int64_t row) {
  using Float = FloatOf<X>;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, args.dtype, args.options);
  const bool has_residual = args.residual.data != nullptr;
  if (has_residual) add_residual<X>(args, row);
  const X* x = has_residual ? row_of<X>(args.sum, row) : row_of<X>(args.x, row);
  X* y = row_of<X>(args.y, row);

  const Float rstd = rstd_of(x, hidden_size, static_cast<Float>(args.options.eps));
  if (args.rstd != nullptr) static_cast<Float*>(args.rstd)[row] = rstd;
  for (std::int64_t j = 0; j < hidden_size; ++j) {
    y[j] = cast<X>(scaled<X, kLlama>(load(x[j]) * rstd, weights.at(j)));
  }
}

template <class X, bool kLlama>
void backward_row(const BackwardArgs& args, std::int64_t row, FloatOf<X>* partial) {
  using Float = FloatOf<X>;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, args.dtype, args.options);
  const X* dy = row_of<X>(args.dy, row);
  const X* x = row_of<X>(args.x, row);
  const Float rstd = args.rstd != nullptr
                         ? static_cast<const Float*>(args.rstd)[row]
                         : rstd_of(x, hidden_size, static_cast<Float>(args.options.eps));

  if (partial != nullptr) {
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      const Float xhat = load(x[j]) * rstd;
      partial[j] = fma(load(dy[j]), kLlama ? load(cast<X>(xhat)) : xhat, partial[j]);
    }
  }
  if (args.dx.data == nullptr) return;
  const Float cbar = cbar_of<X, kLlama>(dy, x, weights, hidden_size, rstd);
  X* dx = row_of<X>(args.dx, row);
  const auto dx_at = [&](std::int64_t j) {
    const Float xhat = load(x[j]) * rstd;
    return rstd * fma(-xhat, cbar, weighted<X, kLlama>(load(dy[j]), weights.at(j)));
  };
  if (args.dsum.data == nullptr) {
    for (std::int64_t j = 0; j < hidden_size; ++j) dx[j] = cast<X>(dx_at(j));
  } else {
    const X* dsum = row_of<X>(args.dsum, row);
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      dx[j] = cast<X>(dx_at(j) + load(dsum[j]));
    }
  }
}

template <class X, bool kLlama>
void forward(const ForwardArgs& args, Range rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) forward_row<X, kLlama>(args, row);
}

template <class X, bool kLlama>
void backward(const BackwardArgs& args, Range rows, FloatOf<X>* partial) {
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

// The neighbour-first tree over `count` rows, stride apart, of kPartialColumns sums. A complete
// left subtree of the largest power of two below count, and what is left: where an odd one passes
// through, the same.
template <class Float>
void tree_sum(const Float* rows, std::int64_t count, std::int64_t stride,
              Float (&sums)[kPartialColumns]) {
  if (count == 1) {
    for (std::int64_t i = 0; i < kPartialColumns; ++i) sums[i] = rows[i];
    return;
  }
  const std::int64_t left = bit_ceil(count) / 2;
  Float others[kPartialColumns];
  tree_sum(rows, left, stride, sums);
  tree_sum(rows + left * stride, count - left, stride, others);
  add_partial(sums, others, kPartialColumns);
}

template <class T, class Float>
void finish_dweight(const BackwardArgs& args, const Float* partials, std::int64_t count,
                    Range part) {
  const std::int64_t stride = partial_stride(args.shape.hidden_size);
  T* dweight = static_cast<T*>(args.dweight);
  for (std::int64_t begin = part.begin; begin < part.end; begin += kPartialColumns) {
    Float sums[kPartialColumns] = {};
    if (count > 0) tree_sum(partials + begin, count, stride, sums);
    for (std::int64_t i = 0; i < kPartialColumns && begin + i < args.shape.hidden_size; ++i) {
      T& out = dweight[begin + i];
      out = cast<T>(args.accumulate ? load(out) + sums[i] : sums[i]);
    }
  }
}

}  // namespace plain
