// silu.h in float32, number by number, against the C library in float64. gate_test.cc checks that
// vectors give the same bits.

#include "op/silu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace rmsnorm::test {
namespace {

constexpr double kUnit = 0x1p-24;  // the largest relative error of rounding a normal number
constexpr double kSmallest = 0x1p-149;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The distance between two tested bit patterns; 1 tests all of them.
constexpr std::uint32_t kStride = 251;

// Calls function(z) for the numbers of one sign, from 0 to infinity.
template <class Function>
void for_each_number(bool is_negative, std::uint32_t stride, const Function& function) {
  const std::uint32_t sign = is_negative ? 0x80000000 : 0;
  for (std::uint32_t bits = 0; bits <= 0x7f800000; bits += stride) {
    function(std::bit_cast<float>(sign | bits));
  }
}

// The unit in the last place (ulp) of float32 at a true value.
double last_place(double value) {
  const int exponent = value == 0 ? -149 : std::ilogb(value);
  return std::ldexp(1.0, std::max(exponent, -126) - 23);
}

double largest_error_of_exp(std::uint32_t stride) {
  double largest = 0;
  for_each_number(true, stride, [&](float x) {
    const double expected = std::exp(static_cast<double>(x));
    const double error = exp_of(at_least(x, kMinExponent)) - expected;
    largest = std::max(largest, std::abs(error) / last_place(expected));
  });
  return largest;
}

TEST_CASE("exp_of is within 0.9 ulp of exp") { CHECK(largest_error_of_exp(kStride) < 0.9); }

TEST_CASE("exp_of is within 0.9 ulp of exp for every number" * doctest::skip()) {
  const double largest = largest_error_of_exp(1);
  MESSAGE("at most ", largest);
  CHECK(largest < 0.9);
}

TEST_CASE("exp_of is right at the ends of its domain") {
  CHECK(exp_of(0.0f) == 1.0f);
  CHECK(exp_of(-0.0f) == 1.0f);
  CHECK(exp_of(-103.0f) > 0.0f);
  CHECK(exp_of(at_least(-kInfinity, kMinExponent)) == 0.0f);
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fffffffu, 0xffffffffu}) {
    CHECK(std::isnan(exp_of(at_least(std::bit_cast<float>(bits), kMinExponent))));
  }
}

// Errors in units of 2^-24, with e = exp(-|z|): e has at most 1.8. 1 + e has half of that and 1 of
// its own rounding: 1.9. z e has 2.8, and the quotient 5.7. A subnormal e is off by almost the
// smallest number, so z e is off by z times that. Each rounding adds half of the smallest number.
TEST_CASE("silu is z / (1 + exp(-z)) within the bound of its roundings") {
  double largest = 0;
  for (const bool is_negative : {false, true}) {
    for_each_number(is_negative, kStride, [&](float z) {
      if (std::isinf(z)) return;
      const double wide = z;
      const double expected = wide / (1 + std::exp(-wide));
      const double subnormal = (1 + std::min(std::abs(wide), 128.0)) * kSmallest;
      const double bound = 5.8 * kUnit * std::abs(expected) + subnormal;
      largest = std::max(largest, std::abs(silu(z) - expected) / bound);
    });
  }
  CHECK(largest < 1);
}

// The error of 1 / (1 + e) is at most 2.9 units, and of e times that 5.7. Together, s and z (1 - s)
// are 8.6 off. The sum adds 1 unit of 1 + |z| (1 - s), which may exceed the sum. The last product
// adds 1.
TEST_CASE("silu_derivative is s (1 + z (1 - s)) within the bound of its roundings") {
  double largest = 0;
  for (const bool is_negative : {false, true}) {
    for_each_number(is_negative, kStride, [&](float z) {
      if (std::isinf(z)) return;
      const double wide = z;
      const double s = 1 / (1 + std::exp(-wide));
      const double other = 1 / (1 + std::exp(wide));
      const double expected = s * (1 + wide * other);
      const double magnitude = s * (1 + std::abs(wide) * other);
      const double subnormal = (1 + std::min(std::abs(wide), 128.0)) * kSmallest;
      const double bound = 11 * kUnit * magnitude + 2 * subnormal;
      largest = std::max(largest, std::abs(silu_derivative(z) - expected) / bound);
    });
  }
  CHECK(largest < 1);
}

TEST_CASE("silu and silu_derivative are right at 0, infinity and NaN") {
  CHECK(std::bit_cast<std::uint32_t>(silu(0.0f)) == 0);
  CHECK(std::bit_cast<std::uint32_t>(silu(-0.0f)) == 0x80000000);
  CHECK(silu(kInfinity) == kInfinity);
  CHECK(std::bit_cast<std::uint32_t>(silu(-kInfinity)) == 0x80000000);
  CHECK(silu(3e38f) == 3e38f);
  CHECK(silu_derivative(0.0f) == 0.5f);
  CHECK(silu_derivative(kInfinity) == 1.0f);
  CHECK(silu_derivative(3e38f) == 1.0f);
  CHECK(silu_derivative(-kInfinity) == 0.0f);
  CHECK(silu_derivative(-3e38f) == 0.0f);
  for (const float nan : {kNaN, -kNaN, std::bit_cast<float>(0x7fffffffu)}) {
    CHECK(std::isnan(silu(nan)));
    CHECK(std::isnan(silu_derivative(nan)));
  }
}

}  // namespace
}  // namespace rmsnorm::test
