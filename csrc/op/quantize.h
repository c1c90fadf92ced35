// Conversion between float32 and 8-bit codes, one number at a time, by definition: rounded to
// nearest even and saturated (Q in fold.h). The reference loops (cpu/kernels) and the CUDA kernels
// use it; SIMD code does the same with vectors (cpu/simd/codes.h). fold.h says why the functions
// are `static`.
#pragma once

#include <cstdint>

#include "rms_norm.h"

namespace rmsnorm {

// An 8-bit floating-point format: sign, exponent, fraction. Numbers below its smallest normal
// number are multiples of its smallest positive number.
template <int fraction_bits, int bias>
struct Float8Format {
  static constexpr int kFractionBits = fraction_bits;
  static constexpr int kDropped = 23 - fraction_bits;  // fraction bits that only a float has
  // For a normal number without its sign: the bits of the float minus (its code << kDropped).
  static constexpr std::uint32_t kRebias = std::uint32_t{127 - bias} << 23;
  // The bits of a float whose ulp is the smallest positive number of the format. Adding that float
  // rounds to a multiple of the smallest positive number.
  static constexpr std::uint32_t kRoundSubnormal = std::uint32_t{128 - bias + kDropped} << 23;
};
template <DType codes>
struct Float8;
template <>
struct Float8<DType::kFloat8E4M3> : Float8Format<3, 7> {
  static constexpr float kLargest = 448.0f;
};
template <>
struct Float8<DType::kFloat8E5M2> : Float8Format<2, 15> {
  static constexpr float kLargest = 57344.0f;
};

// The code that every NaN gets, in both formats.
static constexpr std::uint32_t kFloat8NaN = 0x7f;

// The largest finite number that a code stands for. A row's own scale is amax / this number.
static constexpr float largest_code(DType codes) {
  if (codes == DType::kInt8) return 127.0f;
  return codes == DType::kFloat8E4M3 ? Float8<DType::kFloat8E4M3>::kLargest
                                     : Float8<DType::kFloat8E5M2>::kLargest;
}

// A row's own scale; amax_bits are the bits of the largest magnitude of y in the row.
static constexpr float scale_of(std::uint32_t amax_bits, const Quantization& quantization) {
  const float scale = __builtin_bit_cast(float, amax_bits) / largest_code(quantization.codes);
  return scale > quantization.scale_max ? quantization.scale_max : scale;
}

static constexpr std::uint32_t magnitude_bits(float value) {
  return __builtin_bit_cast(std::uint32_t, value) & 0x7fffffffu;
}

// Added to a number of magnitude below 2^22, it rounds the number to a whole number. The lowest
// bits of the sum are then that whole number.
static constexpr float kRoundToWhole = 0x1.8p23f;

static constexpr std::uint32_t int8_code(float value) {
  if (value != value) return 0;
  const float not_above = value > 127.0f ? 127.0f : value;
  const float clamped = not_above < -128.0f ? -128.0f : not_above;
  return __builtin_bit_cast(std::uint32_t, clamped + kRoundToWhole) & 0xffu;
}

template <DType codes>
static constexpr std::uint32_t float8_code(float value) {
  using Format = Float8<codes>;
  constexpr int kDropped = Format::kDropped;
  if (value != value) return kFloat8NaN;
  const std::uint32_t sign = __builtin_bit_cast(std::uint32_t, value) >> 24 & 0x80u;
  const std::uint32_t bits = magnitude_bits(value);
  const std::uint32_t largest = magnitude_bits(Format::kLargest);
  const std::uint32_t magnitude = bits > largest ? largest : bits;
  if (magnitude < Format::kRebias + (1u << 23)) {
    const float shifted =
        __builtin_bit_cast(float, magnitude) + __builtin_bit_cast(float, Format::kRoundSubnormal);
    return sign | (__builtin_bit_cast(std::uint32_t, shifted) - Format::kRoundSubnormal);
  }
  const std::uint32_t odd = magnitude >> kDropped & 1u;
  const std::uint32_t half = (1u << (kDropped - 1)) - 1;
  return sign | ((magnitude + half + odd - Format::kRebias) >> kDropped);
}

static constexpr std::uint32_t code_of(DType codes, float value) {
  if (codes == DType::kInt8) return int8_code(value);
  return codes == DType::kFloat8E4M3 ? float8_code<DType::kFloat8E4M3>(value)
                                     : float8_code<DType::kFloat8E5M2>(value);
}

// The number that is rounded to a code. With a row's own scale (is_own) it is y / scale, or 0 if
// the scale is 0. With one scale for all rows it is y * (1 / scale).
static constexpr float quotient_of(float y, float scale, bool is_own) {
  if (!is_own) return y * (1 / scale);
  return scale == 0 ? 0.0f : y / scale;
}

template <DType codes>
static constexpr float float8_value(std::uint32_t code) {
  using Format = Float8<codes>;
  const std::uint32_t sign = (code & 0x80u) << 24;
  const std::uint32_t magnitude = code & 0x7fu;
  const bool has_infinity = codes == DType::kFloat8E5M2;
  if (magnitude > (has_infinity ? 0x7cu : 0x7eu)) return __builtin_nanf("");
  if (has_infinity && magnitude == 0x7cu) return __builtin_bit_cast(float, sign | 0x7f800000u);
  if (magnitude >> Format::kFractionBits > 0) {
    const std::uint32_t bits = (magnitude << Format::kDropped) + Format::kRebias;
    return __builtin_bit_cast(float, sign | bits);
  }
  const float rounder = __builtin_bit_cast(float, Format::kRoundSubnormal);
  const float value = __builtin_bit_cast(float, Format::kRoundSubnormal | magnitude) - rounder;
  return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, value));
}

static_assert(int8_code(2.5f) == 2 && int8_code(3.5f) == 4 && int8_code(-0.5f) == 0);
static_assert(int8_code(1e30f) == 127 && int8_code(-1e30f) == 0x80);
static_assert(float8_code<DType::kFloat8E4M3>(1.0f) == 0x38);
static_assert(float8_code<DType::kFloat8E4M3>(1e9f) == 0x7e);
static_assert(float8_code<DType::kFloat8E4M3>(0x1p-10f) == 0);  // a tie, to even
static_assert(float8_code<DType::kFloat8E4M3>(-0x1.8p-9f) == 0x82);
static_assert(float8_code<DType::kFloat8E5M2>(1.0f) == 0x3c);
static_assert(float8_code<DType::kFloat8E5M2>(__builtin_inff()) == 0x7b);
static_assert(float8_value<DType::kFloat8E4M3>(0x01) == 0x1p-9f);
static_assert(float8_value<DType::kFloat8E4M3>(0xfe) == -448.0f);
static_assert(float8_value<DType::kFloat8E5M2>(0x01) == 0x1p-16f);
static_assert(float8_value<DType::kFloat8E5M2>(0x7b) == 57344.0f);

}  // namespace rmsnorm
