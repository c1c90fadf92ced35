// Forward of rows whose y is quantised. A row is read from memory once: its fold, its y as float32
// and the codes of that are three passes over it in the nearest caches. Codes are made of float32
// alone, and kinds of calls share y's code but for the type and the cast order: a branch that all
// columns take alike costs nothing beside memory.
#pragma once

#include "../simd/codes.h"
#include "gated_forward.h"

namespace rmsnorm::cpu {
namespace {

// Columns of a row whose y are on the stack at once. Those of longer rows are computed twice, for
// the largest and for their codes.
static constexpr std::int64_t kQuantizedColumns = 8192;

// What y of a row is made of.
template <class X>
struct QuantizedInput {
  const X* x;
  const X* gate;  // null for none
  GateOrder order;
  float rstd;
  const Weights<X>* weights;  // null for none
};

// Writes y of the columns [begin, end) in their order, in whole VecPairs, before its cast or, in
// Llama's order, after it. Returns the bits of the largest magnitude.
template <class X, bool kLlama>
[[gnu::noinline]] std::uint32_t make_y(const QuantizedInput<X>& input, std::int64_t begin,
                                       std::int64_t end, float* y) {
  constexpr Rounding<X, kLlama, Floats::kQuietNaN> round;
  const QuantizedInput<X> from = input;  // what is stored could be anywhere
  const Vec rstd = Vec::broadcast(from.rstd);
  Magnitudes largest;
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
    const VecPair gate = from.gate == nullptr ? zero_pair() : load_pair<X>(from.gate + j);
    const VecPair w =
        from.weights == nullptr ? filled(zero_pair(), 1.0f) : from.weights->from(j).at(0);
    const VecPair value = write(j, load_pair<X>(from.x + j), gate, w);
    largest.add(value.a);
    largest.add(value.b);
  }
  if (const std::int64_t rest = end - j; rest > 0) {
    const VecPair gate =
        from.gate == nullptr ? zero_pair() : load_masked<X>(from.gate + j, 0, rest);
    const VecPair w =
        from.weights == nullptr ? filled(zero_pair(), 1.0f) : from.weights->masked(j, 0, rest);
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
  bool is_own;  // the row's
  Stores stores;
};

// The row that is next to be read, which is fetched on the way.
struct NextRow {
  const char* data = nullptr;  // null for none
  std::int64_t pair_bytes = 0;

  RMSNORM_INLINE void fetch(std::int64_t column) const {
    if (data == nullptr) return;
    const char* const pair = data + column / kPairColumns * pair_bytes;
    prefetch(pair);
    if (pair_bytes > 64) prefetch(pair + 64);
  }
};

// Writes the codes of `count` numbers.
template <DType codes, bool kBounded, bool kDivides>
[[gnu::noinline]] void write_codes(const float* y, std::int64_t count, Vec divisor, Stores stores,
                                   NextRow next, std::uint8_t* to) {
  const auto quotient = [=](VecPair value) {
    if constexpr (kDivides) return divide(value, VecPair{divisor, divisor});
    return value * divisor;
  };
  using Writer = CodeWriter<codes, kBounded, decltype(quotient)>;
  if (count < kPairColumns) {
    std::uint8_t first[kPairColumns];
    Writer{first, quotient, Stores::kCached}.at(0, load_masked<float>(y, 0, count));
    for (std::int64_t j = 0; j < count; ++j) to[j] = first[j];
    return;
  }
  write_row(Writer{to, quotient, stores}, count, false, [=](std::int64_t column) {
    return [=](std::int64_t j) {
      next.fetch(column + j);
      return load_pair<float>(y + column + j);
    };
  });
}

template <DType codes>
void encode(const Encoding& encoding, const float* y, std::int64_t count, bool is_bounded,
            NextRow next, std::uint8_t* to) {
  const auto write = !encoding.is_own ? write_codes<codes, false, false>
                     : is_bounded     ? write_codes<codes, true, true>
                                      : write_codes<codes, false, true>;
  const float divisor = encoding.is_own ? encoding.scale : 1 / encoding.scale;
  write(y, count, Vec::broadcast(divisor), encoding.stores, next, to);
}

// Codes of a part of a row.
[[gnu::noinline]] void encode_part(const Encoding& encoding, const float* y, std::int64_t count,
                                   bool is_bounded, NextRow next, std::uint8_t* to) {
  if (encoding.is_own && encoding.scale == 0) {
    for (std::int64_t j = 0; j < count; ++j) to[j] = 0;
  } else if (encoding.codes == DType::kInt8) {
    encode<DType::kInt8>(encoding, y, count, is_bounded, next, to);
  } else if (encoding.codes == DType::kFloat8E4M3) {
    encode<DType::kFloat8E4M3>(encoding, y, count, is_bounded, next, to);
  } else {
    encode<DType::kFloat8E5M2>(encoding, y, count, is_bounded, next, to);
  }
}

// The codes of a row, and its scale.
template <class X, bool kLlama>
void quantize_row(const ForwardArgs& args, std::int64_t row, const QuantizedInput<X>& input,
                  Stores stores, NextRow next, float* y) {
  const Quantization& quantization = args.quantization;
  const std::int64_t hidden_size = args.shape.hidden_size;
  auto* const to = row_of<std::uint8_t>(args.y, row);
  const auto for_each_part = [&](const auto& part) {
    for (std::int64_t begin = 0; begin < hidden_size; begin += kQuantizedColumns) {
      const std::int64_t left = hidden_size - begin;
      part(begin, left < kQuantizedColumns ? left : kQuantizedColumns);
    }
  };
  Encoding encoding{quantization.codes, quantization.scale, quantization.scale == 0, stores};
  std::uint32_t largest = 0;
  const bool is_whole = encoding.is_own && hidden_size <= kQuantizedColumns;
  if (encoding.is_own) {
    for_each_part([&](std::int64_t begin, std::int64_t count) {
      const std::uint32_t of_part = make_y<X, kLlama>(input, begin, begin + count, y);
      if (of_part > largest) largest = of_part;
    });
    encoding.scale = scale_of(largest, quantization);
    if (args.scales != nullptr) args.scales[row] = encoding.scale;
  }
  // A finite scale below its bound is that of a row without NaN and infinities; one that is not
  // subnormal has digits enough for quotients of at most the largest code.
  const bool is_bounded = encoding.scale < quantization.scale_max &&
                          encoding.scale >= FoldLimits<float>::kSmallestNormal;
  for_each_part([&](std::int64_t begin, std::int64_t count) {
    if (!is_whole) make_y<X, kLlama>(input, begin, begin + count, y);
    const NextRow of_part{
        next.data == nullptr ? nullptr : next.data + begin / kPairColumns * next.pair_bytes,
        next.pair_bytes};
    encode_part(encoding, y, count, is_bounded, of_part, to + begin);
  });
}

template <class X, bool kLlama>
[[gnu::noinline]] void quantized_rows(const ForwardArgs& args, Range rows, Stores stores,
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
                                    args.options.gate_order, rstds[row - first],
                                    args.weight.data == nullptr ? nullptr : &weights};
      NextRow next;
      if (row + 1 == first + count && row + 1 < args.shape.rows) {
        next = {reinterpret_cast<const char*>(row_of<X>(args.x, row + 1)),
                kPairColumns * static_cast<std::int64_t>(sizeof(X))};
      }
      quantize_row<X, kLlama>(args, row, input, stores, next, y);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
