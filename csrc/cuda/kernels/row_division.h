// Division of a row by its scale for codes (quantize.h), without a division for each number.
//
// y / scale is computed as q = fma(-fma(p, scale, -y), inverse, p), where p = y * inverse, and
// inverse is 1 / scale, rounded. If nothing overflows or underflows, q is the quotient rounded to
// nearest even. Proof: let the significands of y and scale be in [1, 2), and y < scale; otherwise
// all holds with twice the numbers.
//   1. inverse is within 2^-25 of 1 / scale, so p is within 1.5 * 2^-24 of the quotient, and q
//      before its rounding within 3 * 2^-48. Only a quotient that close to a midpoint m of two
//      floats could be rounded wrongly. The quotient is never m itself.
//   2. Then p is one of the two floats beside m. Otherwise y * |inverse - 1 / scale| would be at
//      least 2^-24 - 3 * 2^-48. Then y and scale would be two of the last three floats below 2,
//      but the quotient of those is close to a float.
//   3. So the remainder is exact, and q before its rounding is off by less than scale * 2^-50 +
//      d * scale * 2^-25, where d is the distance of the quotient from m. That is less than d,
//      because d is at least 2^-48 / scale: y - m * scale is a multiple of 2^-48.
//
// Source: Brisebarre, Muller and Raina, "Accelerating Correctly Rounded Floating-Point Division
// when the Divisor Is Known in Advance", 2004.
#pragma once

#include <cstdint>

#include "../../op/formula.h"
#include "../../op/quantize.h"

namespace rmsnorm::cuda {

// The divisor of a row. Unless `is_ready`, the row's numbers are first multiplied by `factor`, and
// clamped far above the largest code. Then no product overflows. Products lose digits to underflow
// only for quotients so small that their code is 0.
struct RowDivision {
  float divisor;
  bool is_ready;
  float factor = 1;  // a power of two
  float zero = 0;    // added: -0 changes nothing, 0 turns -0 into 0
};

// `largest`: the bits of the row's largest magnitude.
constexpr RowDivision row_division(float scale, std::uint32_t largest) {
  if (scale >= 0x1p-60f && largest <= magnitude_bits(0x1p60f)) return {scale, true};
  // Quotients are 0 for a scale of 0, 0 or NaN for infinity, and NaN for NaN.
  if (scale == 0) return {1, false, 0, 0};
  if (scale - scale != 0) return {1, false, scale == scale ? 0 : scale, -0.0f};
  const float factor = scale < 1 ? 0x1p90f : 0x1p-64f;
  return {scale * factor, false, factor, -0.0f};
}

// Prepares one number of the row for quotient().
constexpr float made_ready(float value, const RowDivision& division) {
  const float ready = value * division.factor + division.zero;
  const float limit = 0x1p20f * division.divisor;
  return ready > limit ? limit : ready < -limit ? -limit : ready;
}

// The quotient of a prepared number, or of a pack of them; inverse is 1 / divisor. The signs of the
// factors keep -0 as -0.
template <class V>
RMSNORM_FORMULA V quotient(const V& ready, float divisor, float inverse) {
  const V product = ready * inverse;
  const V excess = fma(product, divisor, ready * -1.0f);
  return fma(excess, -inverse, product);
}

}  // namespace rmsnorm::cuda
