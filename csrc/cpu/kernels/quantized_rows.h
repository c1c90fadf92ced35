// Forward of rows whose y is quantised. A row is read from memory once: its fold, its largest y and
// its codes are three passes over it, of which the last two find it in the nearest caches and
// compute y again, which takes less than storing it. Kinds of calls share the code but for the type
// and the cast order: a branch that all columns take alike costs nothing beside memory.
#pragma once

#include "../simd/codes.h"
#include "gated_forward.h"

namespace rmsnorm::cpu {
namespace {

// y of a row, in the order of its columns: before its cast, or, in Llama's order, after it.
template <class X, bool kLlama>
struct QuantizedRow {
  const X* x;
  const X* gate;  // null for none
  GateOrder order;
  Vec rstd;
  const Weights<X>* weights;  // null for none

  RMSNORM_INLINE VecPair at(std::int64_t column) const {
    const VecPair loaded = load_pair<X>(x + column);
    if (gate != nullptr) [[unlikely]]
      return gated(loaded, load_pair<X>(gate + column), column, kPairColumns);
    const VecPair xhat = xhat_of(loaded, rstd);
    return in_order(weights == nullptr ? xhat : y_of(xhat, weights->from(column).at(0), round));
  }
  // The first columns, fewer than a VecPair; others are not to be used.
  RMSNORM_INLINE VecPair first(std::int64_t columns) const {
    const VecPair loaded = load_masked<X>(x, 0, columns);
    if (gate != nullptr) return gated(loaded, load_masked<X>(gate, 0, columns), 0, columns);
    const VecPair xhat = xhat_of(loaded, rstd);
    return in_order(weights == nullptr ? xhat : y_of(xhat, weights->masked(0, 0, columns), round));
  }

 private:
  static constexpr Rounding<X, kLlama, Floats::kQuietNaN> round{};

  // The code is long, and used in many places.
  [[gnu::noinline]] VecPair gated(VecPair loaded, VecPair z, std::int64_t column,
                                  std::int64_t columns) const {
    VecPair w = filled(zero_pair(), 1.0f);
    if (weights != nullptr) {
      w = columns < kPairColumns ? weights->masked(column, 0, columns)
                                 : weights->from(column).at(0);
    }
    return in_order(gated_y<X, kLlama>(loaded, z, w, rstd, order));
  }
  RMSNORM_INLINE static VecPair in_order(VecPair y) {
    const VecPair rounded = round(y);
    return kInterleaved<X> ? deinterleave(rounded) : rounded;
  }
};

// step(j) for VecPairs that cover a row of at least one: whole ones, and a last one that overlaps.
template <class Step>
RMSNORM_INLINE void for_each_covering(std::int64_t hidden_size, const Step& step) {
  std::int64_t j = 0;
  for (; j + kPairColumns <= hidden_size; j += kPairColumns) step(j);
  if (j < hidden_size) step(hidden_size - kPairColumns);
}

// The bits of the largest magnitude of a row.
template <class Row>
RMSNORM_INLINE std::uint32_t largest_y(const Row& row, std::int64_t hidden_size) {
  Magnitudes a;
  Magnitudes b;
  if (hidden_size < kPairColumns) {
    const VecPair y = row.first(hidden_size);
    a.add_below(y.a, 0, static_cast<int>(hidden_size));
    a.add_below(y.b, Vec::kLanes, static_cast<int>(hidden_size));
    return a.bits();
  }
  for_each_covering(hidden_size, [&](std::int64_t j) {
    const VecPair y = row.at(j);
    a.add(y.a);
    b.add(y.b);
  });
  a.add(b.most);
  return a.bits();
}

// Writes the codes of a row, of each quotient(y), and has the next row fetched on the way.
template <DType codes, bool kBounded, class Row, class Quotient, class X>
RMSNORM_INLINE void write_codes(const Row& row, std::int64_t hidden_size, const Quotient& quotient,
                                const X* next, Stores stores, std::uint8_t* to) {
  using Writer = CodeWriter<codes, kBounded, Quotient>;
  if (hidden_size < kPairColumns) {
    std::uint8_t first[kPairColumns];
    Writer{first, quotient, Stores::kCached}.at(0, row.first(hidden_size));
    for (std::int64_t j = 0; j < hidden_size; ++j) to[j] = first[j];
    return;
  }
  write_row(Writer{to, quotient, stores}, hidden_size, false, [&](std::int64_t column) {
    return [=](std::int64_t j) {
      if (next != nullptr) prefetch_pair(next + column + j);
      return row.at(column + j);
    };
  });
}

template <bool kBounded, class Row, class Quotient, class X>
RMSNORM_INLINE void write_codes_of(DType codes, const Row& row, std::int64_t hidden_size,
                                   const Quotient& quotient, const X* next, Stores stores,
                                   std::uint8_t* to) {
  if (codes == DType::kInt8) {
    write_codes<DType::kInt8, kBounded>(row, hidden_size, quotient, next, stores, to);
  } else if (codes == DType::kFloat8E4M3) {
    write_codes<DType::kFloat8E4M3, kBounded>(row, hidden_size, quotient, next, stores, to);
  } else {
    write_codes<DType::kFloat8E5M2, kBounded>(row, hidden_size, quotient, next, stores, to);
  }
}

// The codes of a row of y, and its scale.
template <class X, class Row>
RMSNORM_INLINE void quantize_row(const ForwardArgs& args, std::int64_t row, const X* next,
                                 Stores stores, const Row& y) {
  const Quantization& quantization = args.quantization;
  const std::int64_t hidden_size = args.shape.hidden_size;
  auto* const to = row_of<std::uint8_t>(args.y, row);
  if (quantization.scale != 0) {
    const Vec inverse = Vec::broadcast(1 / quantization.scale);
    const auto quotient = [=](VecPair value) { return value * inverse; };
    return write_codes_of<false>(quantization.codes, y, hidden_size, quotient, next, stores, to);
  }
  const float scale = scale_of(largest_y(y, hidden_size), quantization);
  if (args.scales != nullptr) args.scales[row] = scale;
  if (scale == 0) {
    for (std::int64_t j = 0; j < hidden_size; ++j) to[j] = 0;
    return;
  }
  const Vec divisor = Vec::broadcast(scale);
  const auto quotient = [=](VecPair value) {
    return VecPair{divide(value.a, divisor), divide(value.b, divisor)};
  };
  // A finite scale below its bound is that of a row without NaN and infinities; one that is not
  // subnormal has digits enough for quotients of at most the largest code.
  if (scale < quantization.scale_max && scale >= FoldLimits<float>::kSmallestNormal) {
    write_codes_of<true>(quantization.codes, y, hidden_size, quotient, next, stores, to);
  } else {
    write_codes_of<false>(quantization.codes, y, hidden_size, quotient, next, stores, to);
  }
}

template <class X, bool kLlama>
[[gnu::noinline]] void quantized_rows(const ForwardArgs& args, Range rows, Stores stores,
                                      const void* prepared) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const Weights<X> weights(args.weight, prepared);
  const Weights<X>* const used = args.weight.data == nullptr ? nullptr : &weights;
  const std::int64_t together = rows_together(hidden_size);
  for (std::int64_t first = rows.begin; first < rows.end; first += together) {
    const std::int64_t left = rows.end - first;
    const std::int64_t count = left < together ? left : together;
    alignas(64) float sums[2 * Vec::kLanes];
    alignas(64) float rstds[Vec::kLanes];
    fold_x<X>(args, first, count, sums);
    store_rstd<X>(args, Vec::load(sums), first, count, rstds);
    for (std::int64_t row = first; row < first + count; ++row) {
      const QuantizedRow<X, kLlama> y{
          row_of<X>(args.x, row), args.gate.data == nullptr ? nullptr : row_of<X>(args.gate, row),
          args.options.gate_order, Vec::broadcast(rstds[row - first]), used};
      const bool is_last = row + 1 == first + count;
      const X* const next =
          is_last && row + 1 < args.shape.rows ? row_of<X>(args.x, row + 1) : nullptr;
      quantize_row(args, row, next, stores, y);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::cpu
