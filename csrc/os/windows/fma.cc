// Replaces fma and fmaf of mingw-w64's C library, because those functions round more than once. On
// a processor without FMA instructions, the numerics contract (fold.h) is computed with the
// functions of this file. They are linked before the library, so the whole module uses them.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kFractionBits = 52;
constexpr int kMinExponent = -1074;  // the smallest number is 2^-1074
constexpr std::uint64_t kFraction = (std::uint64_t{1} << kFractionBits) - 1;
constexpr std::uint64_t kInfinity = std::uint64_t{0x7ff} << kFractionBits;
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;

int highest_bit(Wide value) {
  const auto high = static_cast<std::uint64_t>(value >> 64);
  return high != 0 ? 127 - std::countl_zero(high)
                   : 63 - std::countl_zero(static_cast<std::uint64_t>(value));
}

// value / 2^by. The lowest bit of the result is also set if any bit that was shifted out was set.
Wide shift_right(Wide value, int by) {
  if (by <= 0) return value << -by;
  if (by > 127) return value != 0;
  const Wide shifted = value >> by;
  return shifted | (shifted << by != value);
}

// significand * 2^exponent
struct Number {
  Wide significand;
  int exponent;
};

Number finite(std::uint64_t bits) {
  const std::uint64_t fraction = bits & kFraction;
  const int exponent = static_cast<int>((bits & kInfinity) >> kFractionBits);
  if (exponent == 0) return {fraction, kMinExponent};
  return {fraction | (kFraction + 1), kMinExponent + exponent - 1};
}

// The same number, shifted so that the highest bit of its significand is bit 125 of 128. That
// leaves room for the carry of a sum.
Number normalised(Number number) {
  const int by = 125 - highest_bit(number.significand);
  return {number.significand << by, number.exponent - by};
}

// The bits of the double nearest to a number of at most 127 bits; ties go to even.
std::uint64_t rounded(Number number) {
  const int highest = number.exponent + highest_bit(number.significand);
  const int lowest = std::max(highest - kFractionBits, kMinExponent);
  // Two more bits, below the lowest bit of the result, decide how it is rounded.
  const Wide quarters = shift_right(number.significand, lowest - number.exponent - 2);
  const auto rest = static_cast<unsigned>(quarters & 7);
  const auto significand = static_cast<std::uint64_t>(quarters >> 2) + (rest == 3 || rest >= 6);
  // The leading bit of the significand raises the exponent by one, and so does a carry out of it.
  const std::uint64_t exponent = static_cast<std::uint64_t>(lowest - kMinExponent);
  return std::min((exponent << kFractionBits) + significand, kInfinity);
}

bool is_finite(double value) {
  return (std::bit_cast<std::uint64_t>(value) & kInfinity) != kInfinity;
}

}  // namespace

extern "C" double fma(double a, double b, double c) {
  if (!is_finite(a) || !is_finite(b) || a == 0 || b == 0) return a * b + c;
  if (!is_finite(c)) return c + c;
  if (c == 0) return a * b;

  const auto [a_bits, b_bits, c_bits] =
      std::bit_cast<std::array<std::uint64_t, 3>>(std::array{a, b, c});
  const Number x = finite(a_bits);
  const Number y = finite(b_bits);
  Number large = normalised({x.significand * y.significand, x.exponent + y.exponent});
  Number small = normalised(finite(c_bits));
  std::uint64_t sign = (a_bits ^ b_bits) & kSign;
  const bool differ = ((sign ^ c_bits) & kSign) != 0;
  if (large.exponent < small.exponent ||
      (large.exponent == small.exponent && large.significand < small.significand)) {
    std::swap(large, small);
    sign = c_bits & kSign;
  }
  const Wide other = shift_right(small.significand, large.exponent - small.exponent);
  large.significand = differ ? large.significand - other : large.significand + other;
  if (large.significand == 0) return 0;
  return std::bit_cast<double>(sign | rounded(large));
}

// In double the product is exact. A sum that is not exact is rounded to the neighbour with an odd
// significand. Then rounding that double to float gives the correctly rounded result (Boldo and
// Melquiond, Emulation of FMA, 2008).
extern "C" float fmaf(float a, float b, float c) {
  const double product = static_cast<double>(a) * b;
  const double sum = product + c;
  const double from_c = sum - product;
  const double error = (product - (sum - from_c)) + (c - from_c);
  auto bits = std::bit_cast<std::uint64_t>(sum);
  if ((bits & 1) == 0 && (error > 0 || error < 0)) bits += (error > 0) == (sum > 0) ? 1 : -1;
  return static_cast<float>(std::bit_cast<double>(bits));
}
