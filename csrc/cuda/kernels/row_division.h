// Division of a row by its scale for codes (quantize.h), without a division for each number.
//
// y / scale is q = fma(-fma(p, scale, -y), inverse, p), where p = y * inverse and inverse is
// 1 / scale, rounded. Where nothing over- or underflows, that is the quotient rounded to nearest
// even. For let the significands of y and scale be in [1, 2), and the nearest midpoint m between
// two floats, which the quotient never is, be so near to it that the error of q before its rounding
// could matter: at most 3 * 2^-48. Were p not beside m, y * |inverse - 1 / scale| had to be nearly
// 2^-24, and so y nearly 2; and scale, which then is larger, as well; but then the quotient is next
// to a float. So p is beside m, the remainder is exact, and its product with the inverse is wrong
// by less than scale * 2^-50, and half as much again as much of what m is off. The quotient is at
// least 2^-48 / scale from m, as y - m * scale is a multiple of 2^-48. If y is not less than scale,
// the same holds with twice these numbers. Source: Brisebarre, Muller and Raina, "Accelerating
// Correctly Rounded Floating-Point Division when the Divisor Is Known in Advance", 2004.
#pragma once

#include <cstdint>

#include "../../op/formula.h"

namespace rmsnorm::cuda {

// What a row is divided by. Unless `is_ready`, its numbers are first taken times `factor`; and
// those beyond `limit`, whose code is the largest by far, stop there. Then no product overflows,
// and none loses digits to underflow but of quotients so small that their code is 0.
struct RowDivision {
  float divisor;
  float inverse;
  bool is_ready;
  float factor;  // a power of two
  float zero;    // added: -0, which changes nothing, or 0, which makes 0 of -0
  float limit;
};

// largest: the bits of the row's largest magnitude.
constexpr RowDivision row_division(float scale, std::uint32_t largest) {
  constexpr std::uint32_t kLargestReady = __builtin_bit_cast(std::uint32_t, 0x1p60f);
  if (scale >= 0x1p-60f && largest <= kLargestReady) return {scale, 1 / scale, true, 1, -0.0f, 0};
  // Quotients by 0 are 0, by infinity 0 or NaN, and by NaN NaN.
  if (scale == 0) return {1, 1, false, 0, 0, 1};
  if (scale - scale != 0) return {1, 1, false, 1 / scale, -0.0f, 1};
  const float factor = scale < 1 ? 0x1p90f : 0x1p-64f;
  const float divisor = scale * factor;
  return {divisor, 1 / divisor, false, factor, -0.0f, 0x1p20f * divisor};
}

// One of its numbers, made ready.
constexpr float made_ready(float value, const RowDivision& division) {
  const float ready = __builtin_fmaf(value, division.factor, division.zero);
  const float limit = division.limit;
  return ready > limit ? limit : ready < -limit ? -limit : ready;
}

// The quotient of a number that is ready, or of a pack of them. The signs are such that -0 stays
// -0.
template <class V>
RMSNORM_FORMULA V quotient(const V& ready, const RowDivision& division) {
  const V product = ready * division.inverse;
  const V excess = fma(product, division.divisor, ready * -1.0f);
  return fma(excess, -division.inverse, product);
}

}  // namespace rmsnorm::cuda
