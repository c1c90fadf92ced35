// Conversion between float32 and the 16-bit formats, one number at a time, by their definition. To
// float32 it is exact; from float32 it rounds to nearest even. The reference loops (cpu/kernels)
// use it; SIMD code uses the processor's conversion instructions. fold.h says why the functions are
// `static`.
#pragma once

#include <cstdint>

#include "rms_norm.h"

namespace rmsnorm {

static constexpr float to_float(float value) { return value; }

static constexpr float to_float(BFloat16 value) {
  return __builtin_bit_cast(float, std::uint32_t{value.bits} << 16);
}

static constexpr float to_float(Float16 value) {
  const std::uint32_t sign = (value.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 31u;
  const std::uint32_t fraction = value.bits & 1023u;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, magnitude));
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return __builtin_bit_cast(float, sign | wide << 23 | fraction << 13);
}

template <class T>
static constexpr T from_float(float value);

template <>
constexpr float from_float<float>(float value) {
  return value;
}

template <>
constexpr BFloat16 from_float<BFloat16>(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  if (value != value) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  const std::uint32_t odd = bits >> 16 & 1u;
  return {static_cast<std::uint16_t>((bits + 0x7fffu + odd) >> 16)};
}

template <>
constexpr Float16 from_float<Float16>(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (value != value) {
    half = 0x7e00u | (magnitude >> 13 & 1023u);
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal: drop 13 bits, rebias the exponent
    const std::uint32_t odd = magnitude >> 13 & 1u;
    half = (magnitude + 0xfffu + odd - (112u << 23)) >> 13;
  } else {  // subnormal: 0.5 has an ulp of 2^-24, so the low bits of the sum count multiples of it
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    half = __builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000u;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

static_assert(from_float<BFloat16>(1.00390625f).bits == 0x3f80);  // a tie: down to even
static_assert(from_float<BFloat16>(1.01171875f).bits == 0x3f82);  // a tie: up to even
static_assert(from_float<Float16>(65519.0f).bits == 0x7bff &&
              from_float<Float16>(65520.0f).bits == 0x7c00);
static_assert(from_float<Float16>(0x1p-25f).bits == 0 && from_float<Float16>(0x1.8p-24f).bits == 2);
static_assert(to_float(Float16{1}) == 0x1p-24f && to_float(Float16{0xc000}) == -2.0f);

}  // namespace rmsnorm
