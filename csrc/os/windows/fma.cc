// fma and fmaf of the C library, in place of mingw-w64's: those round more than once,
// and what the numerics contract (fold.h) computes on a processor without the instruction is the
// library's. Linked before the library, these serve the whole module.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kFractionBits = 52;
constexpr int kLeastExponent = -1074;  // of the lowest bit of the smallest numbers
constexpr std::uint64_t kFraction = (std::uint64_t{1} << kFractionBits) - 1;
constexpr std::uint64_t kInfinity = std::uint64_t{0x7ff} << kFractionBits;
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;

int highest_bit(Wide value) {
  const auto high = static_cast<std::uint64_t>(value >> 64);
  return high != 0 ? 127 - std::countl_zero(high)
                   : 63 - std::countl_zero(static_cast<std::uint64_t>(value));
}

// value / 2^by, with the lowest bit set if any that fell off was.
Wide shift_right(Wide value, int by) {
  if (by <= 0) return value << -by;
  if (by > 127) return value != 0;
  const Wide kept = value >> by;
  return kept | (kept << by != value);
}

// significand * 2^exponent
struct Number {
  Wide significand;
  int exponent;
};

Number finite(std::uint64_t bits) {
  const std::uint64_t fraction = bits & kFraction;
  const int exponent = static_cast<int>((bits & kInfinity) >> kFractionBits);
  if (exponent == 0) return {fraction, kLeastExponent};
  return {fraction | (kFraction + 1), kLeastExponent + exponent - 1};
}

// With the highest bit at 125, which leaves room for a sum.
Number normalised(Number number) {
  const int by = 125 - highest_bit(number.significand);
  return {number.significand << by, number.exponent - by};
}

// The bits of the double next to a number of at most 127 bits, ties to even.
std::uint64_t rounded(Number number) {
  const int highest = number.exponent + highest_bit(number.significand);
  const int lowest = std::max(highest - kFractionBits, kLeastExponent);
  // Two bits below the lowest that stays: they say what matters of the rest.
  const Wide quarters = shift_right(number.significand, lowest - number.exponent - 2);
  const auto rest = static_cast<unsigned>(quarters & 7);
  const auto significand = static_cast<std::uint64_t>(quarters >> 2) + (rest == 3 || rest >= 6);
  // The leading bit of the significand, and a carry out of it, raise the exponent by one.
  const std::uint64_t exponent = static_cast<std::uint64_t>(lowest - kLeastExponent);
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

// In double the product is exact. The sum is rounded to an odd significand unless it is exact,
// which leaves the second rounding right (Boldo and Melquiond, Emulation of FMA, 2008).
extern "C" float fmaf(float a, float b, float c) {
  const double product = static_cast<double>(a) * b;
  const double sum = product + c;
  const double from_c = sum - product;
  const double error = (product - (sum - from_c)) + (c - from_c);
  auto bits = std::bit_cast<std::uint64_t>(sum);
  if ((bits & 1) == 0 && (error > 0 || error < 0)) bits += (error > 0) == (sum > 0) ? 1 : -1;
  return static_cast<float>(std::bit_cast<double>(bits));
}
