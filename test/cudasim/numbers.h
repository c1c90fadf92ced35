// PTX's number formats that have no C++ type, and exact rounding to them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace cudasim {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

struct Half {
  u16 bits;
};
struct BFloat {
  u16 bits;
};
template <class T>
struct Pair {  // f16x2, bf16x2: `low` is the less significant half
  T low, high;
};

// The NaN that the hardware returns.
inline constexpr u32 kNan32 = 0x7fffffff;
inline constexpr u16 kNan16 = 0x7fff;

inline float canonical(float value) {
  return value == value ? value : std::bit_cast<float>(kNan32);
}
inline double canonical(double value) { return value; }  // float64 keeps NaN payloads

inline float to_float(BFloat value) { return std::bit_cast<float>(u32{value.bits} << 16); }

// The shifted bits of a half are a float that is too small by 2^112, even for subnormals.
inline float to_float(Half value) {
  const u32 magnitude = value.bits & 0x7fffu;
  const u32 scaled = std::bit_cast<u32>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  const u32 special = 0x7f800000u | magnitude << 13;
  return std::bit_cast<float>((value.bits & 0x8000u) << 16 |
                              (magnitude >= 0x7c00u ? special : scaled));
}

template <class T>
T narrow(float value);

template <>
inline BFloat narrow<BFloat>(float value) {
  const u32 bits = std::bit_cast<u32>(value);
  const u32 rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return {static_cast<u16>(value == value ? rounded : kNan16)};
}

template <>
inline Half narrow<Half>(float value) {
  const u32 bits = std::bit_cast<u32>(value);
  const u32 sign = bits >> 16 & 0x8000u;
  const u32 magnitude = bits & 0x7fffffffu;
  // Normal: drop 13 bits and rebias the exponent. From 65520 on, the nearest half is infinity.
  const u32 normal = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - (112u << 23)) >> 13;
  // Subnormal: near 0.5 one ulp of float32 is 2^-24, the half's unit, so the addition rounds.
  const u32 subnormal = std::bit_cast<u32>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  u32 half = magnitude >= 0x38800000u ? normal : subnormal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;
  return {static_cast<u16>(value == value ? sign | half : kNan16)};
}

// Rounds to an 8-bit float with kFraction fraction bits and the usual exponent bias, as .satfinite:
// values above the largest number saturate to its code, kLargest.
template <int kFraction, u8 kLargest>
u8 narrow_satfinite(float value) {
  const u8 sign = std::signbit(value) ? 0x80 : 0;
  if (value != value) return 0x7f;
  constexpr int kLeast = 2 - (1 << (6 - kFraction));  // the exponent of the smallest normal number
  const double magnitude = std::fabs(static_cast<double>(value));
  int exponent = kLeast;
  while (exponent < 16 && magnitude >= std::ldexp(2.0, exponent)) ++exponent;
  const double units = std::nearbyint(std::ldexp(magnitude, kFraction - exponent));
  const double code = units + ((exponent - kLeast) << kFraction);
  return static_cast<u8>(sign | (code < kLargest ? static_cast<u8>(code) : kLargest));
}

// Rounds to odd: an inexact result has a last bit of 1. A second rounding to a narrower format then
// gives the same bits as one rounding of the exact value.
inline float to_odd_float(double value) {
  const auto rounded = static_cast<float>(value);
  if (!(std::isfinite(value)) || static_cast<double>(rounded) == value) return rounded;
  u32 bits = std::bit_cast<u32>(rounded);
  const bool beyond = std::fabs(static_cast<double>(rounded)) > std::fabs(value);
  if ((bits & 1) == 0) bits = beyond ? bits - 1 : bits + 1;
  return std::bit_cast<float>(bits);
}

template <class T>
T narrow_double(double value) {
  return narrow<T>(to_odd_float(value));
}
template <>
inline float narrow_double<float>(double value) {
  return static_cast<float>(value);
}

// a * b + c with one rounding, for 16-bit formats. The product is exact in float64, and the sum is
// rounded to odd in float64.
template <class T>
T fused(T a, T b, T c) {
  const double product = static_cast<double>(to_float(a)) * static_cast<double>(to_float(b));
  const double addend = static_cast<double>(to_float(c));
  const double sum = product + addend;
  if (!std::isfinite(sum)) return narrow_double<T>(sum);
  const double added = sum - product;  // two-sum: `error` is what rounding `sum` lost
  const double error = (product - (sum - added)) + (addend - added);
  u64 bits = std::bit_cast<u64>(sum);
  if (error != 0 && (bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : -1;
  return narrow_double<T>(std::bit_cast<double>(bits));
}

inline float flushed(float value) {  // .ftz: subnormals are zeros of their sign
  const u32 bits = std::bit_cast<u32>(value);
  return std::bit_cast<float>((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

inline float saturated(float value) {  // .sat: clamps to [0, 1]; NaN becomes 0
  return value > 0 ? (value < 1 ? value : 1.0f) : 0.0f;
}

// The finaliser of splitmix64: a hash whose bits look random.
inline u64 scrambled(u64 value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
  value = (value ^ value >> 27) * 0x94d049bb133111ebu;
  return value ^ value >> 31;
}

}  // namespace cudasim
