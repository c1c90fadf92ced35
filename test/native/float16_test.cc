// float16.h against the definition of the formats, computed in float64.

#include "op/float16.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <limits>

namespace rmsnorm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The value of these bits in a format with kFraction fraction bits and exponent bias kBias.
template <int kFraction, int kBias>
double value_of(std::uint16_t bits) {
  const int exponent = (bits & 0x7fff) >> kFraction;
  const int fraction = bits & ((1 << kFraction) - 1);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - kBias - kFraction)
                    : std::ldexp((1 << kFraction) + fraction, exponent - kBias - kFraction);
  return bits & 0x8000 ? -magnitude : magnitude;
}

// The bits of the largest finite number; infinity is the next.
template <class T>
constexpr std::uint16_t kLargest = 0;
template <>
constexpr std::uint16_t kLargest<Float16> = 0x7bff;
template <>
constexpr std::uint16_t kLargest<BFloat16> = 0x7f7f;

// Counts failures, because a CHECK for each of 65,536 patterns is slow.
template <class T, int kFraction, int kBias>
void check_format() {
  int wrong_values = 0;
  int wrong_round_trips = 0;
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const T value{static_cast<std::uint16_t>(i)};
    const std::uint16_t magnitude = i & 0x7fff;
    const float wide = to_float(value);
    if (magnitude <= kLargest<T>) {
      const double exact = value_of<kFraction, kBias>(value.bits);
      wrong_values += std::bit_cast<std::uint64_t>(static_cast<double>(wide)) !=
                      std::bit_cast<std::uint64_t>(exact);
      wrong_round_trips += from_float<T>(wide).bits != value.bits;
    } else if (magnitude == kLargest<T> + 1) {
      wrong_values += wide != (i & 0x8000 ? -kInfinity : kInfinity);
      wrong_round_trips += from_float<T>(wide).bits != value.bits;
    } else {
      wrong_values += wide == wide;
      const float again = to_float(from_float<T>(wide));
      wrong_round_trips += again == again || std::signbit(again) != std::signbit(wide);
    }
  }
  CHECK(wrong_values == 0);
  CHECK(wrong_round_trips == 0);

  // The midpoint of two neighbours is exact in float32. Beyond the largest number, infinity takes
  // the position of the next number.
  int wrong_ties = 0;
  int wrong_neighbours = 0;
  for (std::uint16_t i = 0; i <= kLargest<T>; ++i) {
    const double low = value_of<kFraction, kBias>(i);
    const double high = value_of<kFraction, kBias>(static_cast<std::uint16_t>(i + 1));
    const float middle = static_cast<float>((low + high) / 2);
    const auto upper = static_cast<std::uint16_t>(i + 1);
    for (const std::uint16_t sign : {0, 0x8000}) {
      const auto rounded = [sign](float value) {
        return from_float<T>(sign ? -value : value).bits ^ sign;
      };
      wrong_ties += rounded(middle) != (i % 2 == 0 ? i : upper);
      wrong_neighbours += rounded(std::nextafterf(middle, 0.0f)) != i;
      wrong_neighbours += rounded(std::nextafterf(middle, kInfinity)) != upper;
    }
  }
  CHECK(wrong_ties == 0);
  CHECK(wrong_neighbours == 0);
}

TEST_CASE("float16: every bit pattern and every tie converts exactly") {
  check_format<Float16, 10, 15>();
}
TEST_CASE("bfloat16: every bit pattern and every tie converts exactly") {
  check_format<BFloat16, 7, 127>();
}

TEST_CASE("16-bit formats: zeros, the smallest and the largest numbers and infinities convert") {
  CHECK(from_float<Float16>(0.0f).bits == 0);
  CHECK(from_float<Float16>(-0.0f).bits == 0x8000);
  CHECK(from_float<Float16>(std::numeric_limits<float>::denorm_min()).bits == 0);
  CHECK(from_float<Float16>(std::numeric_limits<float>::max()).bits == 0x7c00);
  CHECK(from_float<Float16>(-kInfinity).bits == 0xfc00);
  CHECK(from_float<BFloat16>(-0.0f).bits == 0x8000);
  CHECK(from_float<BFloat16>(std::numeric_limits<float>::denorm_min()).bits == 0);
  CHECK(from_float<BFloat16>(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(from_float<BFloat16>(-kInfinity).bits == 0xff80);
}

TEST_CASE("16-bit formats: any NaN stays a NaN") {
  for (const std::uint32_t bits :
       {0x7fffffffu, 0xffffffffu, 0x7f800001u, 0xff800001u, 0x7fbfffffu, 0x7fc00000u}) {
    CAPTURE(bits);
    const float nan = std::bit_cast<float>(bits);
    CHECK(std::isnan(to_float(from_float<Float16>(nan))));
    CHECK(std::isnan(to_float(from_float<BFloat16>(nan))));
  }
  CHECK(std::isnan(to_float(from_float<Float16>(kNaN))));
  CHECK(std::isnan(to_float(from_float<float>(kNaN))));
}

// The bits of product * 2^exponent, rounded once to bfloat16. Uses integers only, and holds for
// results below the largest number.
std::uint16_t rounded_once(std::uint32_t product, int exponent) {
  if (product == 0) return 0;
  // The unit in the last place of the result: 2^-133 for subnormal numbers, otherwise that of 8
  // digits.
  const int digits = std::bit_width(product);
  const int unit = std::max(exponent + digits - 8, -133);
  const int dropped = unit - exponent;
  std::uint32_t rounded = 0;
  if (dropped <= 0) {
    rounded = product << -dropped;
  } else if (dropped < 31) {
    rounded = product >> dropped;
    const std::uint32_t rest = product & ((1u << dropped) - 1);
    const std::uint32_t half = 1u << (dropped - 1);
    rounded += rest > half || (rest == half && (rounded & 1) != 0);
  }
  // The first of 8 digits carries into the exponent field. A number that grew to 9 digits has the
  // next exponent.
  return static_cast<std::uint16_t>(rounded + (static_cast<std::uint32_t>(unit + 133) << 7));
}

// The CUDA kernels multiply 16-bit numbers with an instruction that rounds once. The contract
// rounds to float32 and then to 16 bits. Products of float16 are exact in float32.
TEST_CASE("float16: a product of bfloat16 has the same bits by one rounding and by two") {
  int different = 0;
  for (std::uint32_t a = 1; a < 256; ++a) {
    for (std::uint32_t b = a; b < 256; ++b) {
      for (int exponent = -175; exponent < -100; ++exponent) {
        const auto product = static_cast<float>(std::ldexp(a * b, exponent));
        different += from_float<BFloat16>(product).bits != rounded_once(a * b, exponent);
      }
    }
  }
  CHECK(different == 0);
}

TEST_CASE("float16: a product of float16 is exact in float32") {
  for (const std::uint16_t bits : {0x0001, 0x03ff, 0x0400, 0x3bff, 0x7bff}) {
    int inexact = 0;
    for (std::uint32_t i = 0; i <= kLargest<Float16>; ++i) {
      const float a = to_float(Float16{bits});
      const float b = to_float(Float16{static_cast<std::uint16_t>(i)});
      inexact += static_cast<double>(a * b) != static_cast<double>(a) * static_cast<double>(b);
    }
    CHECK(inexact == 0);
  }
}

}  // namespace
}  // namespace rmsnorm
