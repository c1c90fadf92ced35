// Division of a row by its scale for codes (quantize.h), without a division for each number.
//
// y / scale is computed as q = fma(-fma(p, scale, -y), inverse, p), where p = y * inverse, and
// inverse is 1 / scale, rounded. If nothing overflows or underflows, q is the quotient y / scale,
// rounded to nearest even. The proof is for y and scale in [1, 2) with y < scale. Signs and powers
// of two change no step. If y >= scale, all steps hold with the bounds on p, q and d doubled.
//   1. inverse is within 2^-25 of 1 / scale. So p is within 1.5 * 2^-24 of the quotient, and q,
//      before its rounding, is within 3 * 2^-48 of the quotient. q could be rounded wrongly only if
//      the quotient is within 3 * 2^-48 of m, the midpoint of two neighbouring floats. The quotient
//      is never m itself.
//   2. In this case p is one of the two floats beside m. Otherwise y * |inverse - 1 / scale| would
//      be at least 2^-24 - 3 * 2^-48. Then y and scale would be two of the last three floats below
//      2, but the quotient of two such floats is close to a float, not to a midpoint.
//   3. So the remainder, fma(p, scale, -y), is exact. Let d be the distance of the quotient from m.
//      q, before its rounding, is off by less than scale * 2^-50 + d * scale * 2^-25. That is less
//      than d, because y - m * scale is a multiple of 2^-48, so that d is at least 2^-48 / scale.
//
// Source: Brisebarre, Muller and Raina, "Accelerating Correctly Rounded Floating-Point Division
// when the Divisor Is Known in Advance", 2004.
#pragma once

#include <cstdint>

#include "../../op/formula.h"
#include "../../op/quantize.h"

namespace rmsnorm::cuda {

// The divisor of a row. Unless `is_ready`, made_ready() first multiplies each number of the row by
// `factor` and clamps it, far above the largest code. Then no product overflows. Products lose
// digits to underflow only for quotients so small that their code is 0.
struct RowDivision {
  float divisor;
  bool is_ready;
  float factor = 1;  // a power of two; 0 or NaN if the scale is 0, infinite or NaN
  float zero = 0;    // added after the multiplication: -0 changes nothing, 0 turns -0 into 0
};

// `largest`: the bits of the row's largest magnitude.
constexpr RowDivision row_division(float scale, std::uint32_t largest) {
  if (scale >= 0x1p-60f && largest <= magnitude_bits(0x1p60f)) return {scale, true};
  // For a scale of 0, quotients are 0. For an infinite scale they are 0 or NaN, for NaN they are
  // NaN.
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
