// Division of a row by its scale for codes (quantize.h), without a division for each number.
//
// y / scale is q = fma(-fma(p, scale, -y), inverse, p), where p = y * inverse and inverse is
// 1 / scale, rounded. Where nothing over- or underflows, q is the quotient rounded to nearest even.
// For let the significands of y and scale be in [1, 2), and y < scale; else all holds with twice
// the numbers.
//   1. inverse is within 2^-25 of 1 / scale, so p is within 1.5 * 2^-24 of the quotient, and q
//      before its rounding within 3 * 2^-48. Only a quotient as near as that to a midpoint m of two
//      floats could be rounded wrong. It is never on m.
//   2. Then p is beside m. Else y * |inverse - 1 / scale| would be 2^-24 - 3 * 2^-48 or more, and
//      y and scale two of the last three floats below 2, whose quotient is next to a float.
//   3. So the remainder is exact, and q before its rounding is off by less than scale * 2^-50 +
//      d * scale * 2^-25, where d is how far the quotient is from m. That is less than d, since d
//      is at least 2^-48 / scale: y - m * scale is a multiple of 2^-48.
//
// Source: Brisebarre, Muller and Raina, "Accelerating Correctly Rounded Floating-Point Division
// when the Divisor Is Known in Advance", 2004.
#pragma once

#include <cstdint>

#include "../../op/formula.h"
#include "../../op/quantize.h"

namespace rmsnorm::cuda {

// What a row is divided by. Unless `is_ready`, its numbers are first taken times `factor`, and stop
// where the code is the largest by far. Then no product overflows, and none loses digits to
// underflow but of quotients so small that their code is 0.
struct RowDivision {
  float divisor;
  bool is_ready;
  float factor = 1;  // a power of two
  float zero = 0;    // added: -0, which changes nothing, or 0, which makes 0 of -0
};

// largest: the bits of the row's largest magnitude.
constexpr RowDivision row_division(float scale, std::uint32_t largest) {
  if (scale >= 0x1p-60f && largest <= magnitude_bits(0x1p60f)) return {scale, true};
  // Quotients by 0 are 0, by infinity 0 or NaN, and by NaN NaN.
  if (scale == 0) return {1, false, 0, 0};
  if (scale - scale != 0) return {1, false, scale == scale ? 0 : scale, -0.0f};
  const float factor = scale < 1 ? 0x1p90f : 0x1p-64f;
  return {scale * factor, false, factor, -0.0f};
}

// One of its numbers, made ready.
constexpr float made_ready(float value, const RowDivision& division) {
  const float ready = value * division.factor + division.zero;
  const float limit = 0x1p20f * division.divisor;
  return ready > limit ? limit : ready < -limit ? -limit : ready;
}

// The quotient of a number that is ready, or of a pack of them, where inverse is 1 / divisor. By
// these signs -0 stays -0.
template <class V>
RMSNORM_FORMULA V quotient(const V& ready, float divisor, float inverse) {
  const V product = ready * inverse;
  const V excess = fma(product, divisor, ready * -1.0f);
  return fma(excess, -inverse, product);
}

}  // namespace rmsnorm::cuda
