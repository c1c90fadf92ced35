// The codes of quantize.h, computed with vectors: one implementation for all instruction sets.
#pragma once

#include "../../op/quantize.h"
#include "lanes.h"

namespace rmsnorm::cpu {
namespace {

// 0, 1, 2 …
RMSNORM_INLINE IntLanes lane_numbers() {
  IntLanes numbers{};
  for (int i = 0; i < Vec::kLanes; ++i) numbers[i] = i;
  return numbers;
}

// The largest of several numbers.
template <int kCount>
RMSNORM_INLINE std::int32_t largest_of(const std::int32_t (&numbers)[kCount]) {
  std::int32_t halves[kCount / 2];
  for (int i = 0; i < kCount / 2; ++i) {
    halves[i] = numbers[i] > numbers[i + kCount / 2] ? numbers[i] : numbers[i + kCount / 2];
  }
  if constexpr (kCount > 2) return largest_of(halves);
  return halves[0];
}

// The largest magnitude so far in each lane. Magnitudes are compared as integers that have the same
// bits.
struct MaxAbs {
  IntLanes max{};

  RMSNORM_INLINE void add(IntLanes magnitude) { max = magnitude > max ? magnitude : max; }
  RMSNORM_INLINE void add(Vec values) { add(int_lanes(values) & 0x7fffffff); }
  // Adds only the lanes whose column is below `end`; lane 0 is column `column`.
  RMSNORM_INLINE void add_below(Vec values, int column, int end) {
    const IntLanes columns = lane_numbers() + column;
    add(columns < end ? int_lanes(values) & 0x7fffffff : IntLanes{});
  }
  RMSNORM_INLINE std::uint32_t bits() const {
    std::int32_t lanes[Vec::kLanes];
    __builtin_memcpy(lanes, &max, sizeof(lanes));
    return static_cast<std::uint32_t>(largest_of(lanes));
  }
};

// Codes as integers from -128 to 127. kBounded: no value is NaN, and none exceeds the largest code
// by more than a rounding error.
template <DType codes, bool kBounded>
RMSNORM_INLINE IntLanes float8_codes(Vec values) {
  using Format = Float8<codes>;
  constexpr int kDropped = Format::kDropped;
  constexpr auto kLargest = static_cast<std::int32_t>(magnitude_bits(Format::kLargest));
  constexpr auto kSubnormal = static_cast<std::int32_t>(Format::kRoundSubnormal);
  constexpr auto kRebias = static_cast<std::int32_t>(Format::kRebias);
  const IntLanes bits = int_lanes(values);
  const IntLanes magnitude = bits & 0x7fffffff;
  IntLanes clamped = magnitude;
  if constexpr (!kBounded) clamped = magnitude > kLargest ? IntLanes{} + kLargest : magnitude;
  const Vec shifted = float_lanes(clamped) + Vec::broadcast(__builtin_bit_cast(float, kSubnormal));
  const IntLanes odd = (clamped >> kDropped) & 1;
  const IntLanes normal = (clamped + odd + ((1 << (kDropped - 1)) - 1 - kRebias)) >> kDropped;
  const IntLanes code = clamped < kRebias + (1 << 23) ? int_lanes(shifted) - kSubnormal : normal;
  const IntLanes signed_code = ((bits >> 31) & -0x80) | code;
  if constexpr (kBounded) return signed_code;
  return magnitude > 0x7f800000 ? IntLanes{} + static_cast<int>(kFloat8NaN) : signed_code;
}

template <DType codes, bool kBounded>
RMSNORM_INLINE auto lane_codes(Vec values) {
  if constexpr (codes == DType::kInt8) {
    return round_to_int8<kBounded>(values);
  } else {
    using Lanes = decltype(round_to_int8<true>(values));
    return __builtin_bit_cast(Lanes, float8_codes<codes, kBounded>(values));
  }
}

// A writer for write_row (rows.h): stores the codes of quotient(y) for each VecPair y.
template <DType codes, bool kBounded, class Quotient>
struct CodeWriter {
  std::uint8_t* data;
  Quotient quotient;

  RMSNORM_INLINE void at(std::int64_t column, VecPair y) const {
    const VecPair numbers = quotient(y);
    store_int8(data + column, lane_codes<codes, kBounded>(numbers.a),
               lane_codes<codes, kBounded>(numbers.b));
  }
  RMSNORM_INLINE void edge(std::int64_t column, std::int64_t, std::int64_t, VecPair y) const {
    at(column, y);
  }
};

}  // namespace
}  // namespace rmsnorm::cpu
