// Forward of rows whose y is quantised. A row is read from memory once. Its row sum, its largest
// |y| and its codes are three passes over it in the nearest caches. The last pass reads only
// float32 numbers, so that its instructions exist once for all dtypes. For float32 tensors without
// a gate, it reads x, and y is computed twice. For other rows the second pass writes y to a buffer
// as float32. Measured at 8x4096 float32: computing y twice takes 0.86 (AVX2) to 0.93 (AVX-512) of
// the time that writing y to a buffer takes.
//
// Codes are never streamed past the caches, because a store has only a quarter or half of a cache
// line. Measured at 2048x4096 float32, one thread, an AMD EPYC of Zen 4: streaming stores take 1.13
// to 1.2 times as long.
#pragma once

#include "../simd/codes.h"
#include "gated_forward.h"

namespace rmsnorm::cpu {
namespace {

// The number of columns of y that the buffer on the stack holds. In longer rows y is computed
// twice: for the largest magnitude and for the codes.
static constexpr std::int64_t kQuantizedColumns = 8192;

// The row that is read next. Each of the passes after the row sum prefetches one half of it.
struct NextRow {
  const char* data = nullptr;  // null for none
  std::int64_t pair_bytes = 0;

  template <class X>
  RMSNORM_INLINE static NextRow of(const X* row) {
    return {reinterpret_cast<const char*>(row),
            kPairColumns * static_cast<std::int64_t>(sizeof(X))};
  }
  // The second half of a row of `columns` columns.
  RMSNORM_INLINE NextRow second_half(std::int64_t columns) const {
    if (data == nullptr) return {};
    return {data + columns / kPairColumns * (pair_bytes / 2), pair_bytes};
  }
  RMSNORM_INLINE void fetch(std::int64_t column) const {
    if (data != nullptr) prefetch(data + column / kPairColumns * (pair_bytes / 2));
  }
};

// The inputs of a row of y.
template <class X>
struct QuantizedInput {
  const X* x;
  const X* gate;  // null for none
  GateOrder order;
  float rstd;
  bool is_weighted;
  Weights<X> weights;
};

// Writes y of the columns [begin, end) as float32, in the order of columns and in whole VecPairs.
// In Llama's order y is rounded to X, else not. Returns the bits of the largest magnitude.
template <class X, bool kLlama>
[[gnu::noinline]] std::uint32_t make_y(const QuantizedInput<X>& input, std::int64_t begin,
                                       std::int64_t end, NextRow next, float* y) {
  constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
  const QuantizedInput<X> from = input;  // a copy, because a store could alias the original
  const Vec rstd = Vec::broadcast(from.rstd);
  MaxAbs largest;
  const auto write = [&](std::int64_t j, VecPair x, VecPair gate, VecPair w) {
    VecPair value;
    if (from.gate != nullptr) {
      value = gated_y<X, kLlama>(x, gate, w, rstd, from.order);
    } else {
      value = y_of(xhat_of(x, rstd), w, round);
    }
    value = round(value);
    if constexpr (kInterleaved<X>) value = deinterleave(value);
    store_pair<float, Floats::kAny>(y + j - begin, value);
    return value;
  };
  std::int64_t j = begin;
  for (; j + kPairColumns <= end; j += kPairColumns) {
    next.fetch(j - begin);
    const VecPair gate = from.gate == nullptr ? zero_pair() : load_pair<X>(from.gate + j);
    const VecPair w = from.is_weighted ? from.weights.from(j).at(0) : filled(zero_pair(), 1.0f);
    const VecPair value = write(j, load_pair<X>(from.x + j), gate, w);
    largest.add(value.a);
    largest.add(value.b);
  }
  if (const std::int64_t rest = end - j; rest > 0) {
    const VecPair gate =
        from.gate == nullptr ? zero_pair() : load_masked<X>(from.gate + j, 0, rest);
    const VecPair w =
        from.is_weighted ? from.weights.masked(j, 0, rest) : filled(zero_pair(), 1.0f);
    const VecPair value = write(j, load_masked<X>(from.x + j, 0, rest), gate, w);
    largest.add_below(value.a, 0, static_cast<int>(rest));
    largest.add_below(value.b, Vec::kLanes, static_cast<int>(rest));
  }
  return largest.bits();
}

// How numbers become codes.
struct Encoding {
  DType codes;
  float scale;
  bool is_own;              // the scale belongs to the row
  bool is_bounded = false;  // no quotient is beyond the largest code

  void set_own_scale(std::uint32_t largest, const Quantization& quantization) {
    scale = scale_of(largest, quantization);
    // A scale below scale_max shows that the row has no NaN or infinity. A scale that is not
    // subnormal has enough digits to keep quotients within the largest code.
    is_bounded = scale < quantization.scale_max && scale >= FoldLimits<float>::kSmallestNormal;
  }
};

// float32 columns of y: data * rstd * w, in the order of the row. If `data` holds y already, rstd
// is 1 and w is null.
struct FloatColumns {
  const float* data;
  float rstd;
  const float* w;  // null for none

  RMSNORM_INLINE VecPair at(std::int64_t j) const {
    const VecPair xhat = xhat_of(load_pair<float>(data + j), Vec::broadcast(rstd));
    return w == nullptr ? xhat : xhat * load_pair<float>(w + j);
  }
  // The first `count` columns, fewer than a VecPair; the others must not be used.
  RMSNORM_INLINE VecPair first(std::int64_t count) const {
    const VecPair xhat = xhat_of(load_masked<float>(data, 0, count), Vec::broadcast(rstd));
    return w == nullptr ? xhat : xhat * load_masked<float>(w, 0, count);
  }
};

// The bits of the largest magnitude of `count` columns.
[[gnu::noinline]] std::uint32_t largest_of(FloatColumns y, std::int64_t count, NextRow next) {
  MaxAbs a;
  MaxAbs b;
  if (count < kPairColumns) {
    const VecPair value = y.first(count);
    a.add_below(value.a, 0, static_cast<int>(count));
    a.add_below(value.b, Vec::kLanes, static_cast<int>(count));
    return a.bits();
  }
  const auto add = [&](std::int64_t j) {
    const VecPair value = y.at(j);
    a.add(value.a);
    b.add(value.b);
  };
  for (std::int64_t j = 0; j + kPairColumns <= count; j += kPairColumns) {
    next.fetch(j);
    add(j);
  }
  add(count - kPairColumns);
  a.add(b.max);
  return a.bits();
}

// Writes the codes of `count` columns.
template <DType codes, bool kBounded, bool kDivides>
[[gnu::noinline]] void write_codes(FloatColumns y, std::int64_t count, float scale, NextRow next,
                                   std::uint8_t* to) {
  const Vec divisor = Vec::broadcast(scale);
  const auto quotient = [=](VecPair value) {
    if constexpr (kDivides) return divide(value, VecPair{divisor, divisor});
    return value * divisor;
  };
  using Writer = CodeWriter<codes, kBounded, decltype(quotient)>;
  if (count < kPairColumns) {
    std::uint8_t first[kPairColumns];
    Writer{first, quotient}.at(0, y.first(count));
    for (std::int64_t j = 0; j < count; ++j) to[j] = first[j];
    return;
  }
  write_row(Writer{to, quotient}, count, false, [=](std::int64_t column) {
    return [=](std::int64_t j) {
      next.fetch(column + j);
      return y.at(column + j);
    };
  });
}

template <DType codes>
void encode(const Encoding& encoding, const FloatColumns& y, std::int64_t count, NextRow next,
            std::uint8_t* to) {
  const auto write = !encoding.is_own      ? write_codes<codes, false, false>
                     : encoding.is_bounded ? write_codes<codes, true, true>
                                           : write_codes<codes, false, true>;
  const float divisor = encoding.is_own ? encoding.scale : 1 / encoding.scale;
  write(y, count, divisor, next, to);
}

// Writes the codes of a segment of a row.
[[gnu::noinline]] void encode_segment(const Encoding& encoding, const FloatColumns& y,
                                      std::int64_t count, NextRow next, std::uint8_t* to) {
  if (encoding.is_own && encoding.scale == 0) {
    for (std::int64_t j = 0; j < count; ++j) to[j] = 0;
  } else if (encoding.codes == DType::kInt8) {
    encode<DType::kInt8>(encoding, y, count, next, to);
  } else if (encoding.codes == DType::kFloat8E4M3) {
    encode<DType::kFloat8E4M3>(encoding, y, count, next, to);
  } else {
    encode<DType::kFloat8E5M2>(encoding, y, count, next, to);
  }
}

// Writes the codes of a float32 row without a gate. The row's own scale is left in `encoding`.
RMSNORM_INLINE void quantize_floats(const FloatColumns& y, std::int64_t hidden_size,
                                    const Quantization& quantization, NextRow next,
                                    std::uint8_t* to, Encoding& encoding) {
  if (encoding.is_own) encoding.set_own_scale(largest_of(y, hidden_size, next), quantization);
  encode_segment(encoding, y, hidden_size, next.second_half(hidden_size), to);
}

// Writes the codes of any other row, in segments of at most kQuantizedColumns. `next` is prefetched
// only if there is one segment.
template <class X, bool kLlama>
void quantize_segments(const QuantizedInput<X>& input, std::int64_t hidden_size,
                       const Quantization& quantization, NextRow next, float* y, std::uint8_t* to,
                       Encoding& encoding) {
  const auto for_each_segment = [&](const auto& visit) {
    for (std::int64_t begin = 0; begin < hidden_size; begin += kQuantizedColumns) {
      const std::int64_t left = hidden_size - begin;
      visit(begin, left < kQuantizedColumns ? left : kQuantizedColumns);
    }
  };
  const bool is_one_segment = hidden_size <= kQuantizedColumns;
  if (!is_one_segment) next = {};
  if (encoding.is_own) {
    std::uint32_t largest = 0;
    for_each_segment([&](std::int64_t begin, std::int64_t count) {
      const std::uint32_t segment_max = make_y<X, kLlama>(input, begin, begin + count, next, y);
      if (segment_max > largest) largest = segment_max;
    });
    encoding.set_own_scale(largest, quantization);
  }
  const FloatColumns made{y, 1.0f, nullptr};
  for_each_segment([&](std::int64_t begin, std::int64_t count) {
    if (!encoding.is_own || !is_one_segment) {
      make_y<X, kLlama>(input, begin, begin + count, next, y);
    }
    encode_segment(encoding, made, count, next.second_half(hidden_size), to + begin);
  });
}

// Writes the codes of a row, and its scale.
template <class X, bool kLlama>
void quantize_row(const ForwardArgs& args, std::int64_t row, const QuantizedInput<X>& input,
                  NextRow next, float* y) {
  const Quantization& quantization = args.quantization;
  const std::int64_t hidden_size = args.shape.hidden_size;
  auto* const to = row_of<std::uint8_t>(args.y, row);
  Encoding encoding{quantization.codes, quantization.scale, quantization.scale == 0};
  if constexpr (__is_same(X, float)) {
    if (input.gate == nullptr) {
      const float* const w = input.is_weighted ? input.weights.from(0).a : nullptr;
      const FloatColumns columns{input.x, input.rstd, w};
      quantize_floats(columns, hidden_size, quantization, next, to, encoding);
      if (args.scales != nullptr && encoding.is_own) args.scales[row] = encoding.scale;
      return;
    }
  }
  quantize_segments<X, kLlama>(input, hidden_size, quantization, next, y, to, encoding);
  if (args.scales != nullptr && encoding.is_own) args.scales[row] = encoding.scale;
}

template <class X, bool kLlama>
[[gnu::noinline]] void quantized_rows(const ForwardArgs& args, Range rows, Stores,
                                      const void* prepared) {
  alignas(64) float y[kQuantizedColumns + kPairColumns];
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, prepared);
  const std::int64_t together = rows_together(hidden_size);
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t left = rows.end - first;
    const std::int64_t count = left < together ? left : together;
    alignas(64) float sums[2 * Vec::kLanes];
    alignas(64) float rstds[Vec::kLanes];
    fold_x<X>(args, first, count, sums);
    store_rstd<X>(args, Vec::load(sums), first, count, rstds);
    for (std::int64_t row = first; row < first + count; ++row) {
      const QuantizedInput<X> input{row_of<X>(args.x, row),
                                    args.gate.data == nullptr ? nullptr : row_of<X>(args.gate, row),
                                    args.options.gate_order,
                                    rstds[row - first],
                                    args.weight.data != nullptr,
                                    weights};
      NextRow next;
      if (row + 1 == first + count && row + 1 < args.shape.rows) {
        next = NextRow::of(row_of<X>(args.x, row + 1));
      }
      quantize_row<X, kLlama>(args, row, input, next, y);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
