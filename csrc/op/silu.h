// silu(z) = z / (1 + exp(-z)) and its derivative, in float32. The exp functions of libraries
// differ, so every operation is spelled out here, and each is rounded to nearest even.
//
// V is a float or a vector of floats (cpu/simd/silu_vectors.h). Besides the operations that
// formula.h needs, V has the functions that are defined below for float.
#pragma once

#include "formula.h"

namespace rmsnorm {
namespace {

// A V whose every element is `value`. The first argument only selects V.
RMSNORM_FORMULA float filled(float, float value) { return value; }

#if defined(__CUDACC__)
RMSNORM_FORMULA float divide(float a, float b) { return __fdiv_rn(a, b); }
RMSNORM_FORMULA float minus_magnitude(float z) { return -fabsf(z); }
#else
RMSNORM_FORMULA float divide(float a, float b) { return a / b; }
RMSNORM_FORMULA float minus_magnitude(float z) { return -__builtin_fabsf(z); }
#endif

// max(z, least) and min(z, most). NaN stays NaN.
RMSNORM_FORMULA float at_least(float z, float least) { return z < least ? least : z; }
RMSNORM_FORMULA float at_most(float z, float most) { return z > most ? most : z; }

// `positive` where z >= 0, else `other`.
RMSNORM_FORMULA float choose(float z, float positive, float other) {
  return z >= 0 ? positive : other;
}

// 2^(k - 127), where k is the number in the lowest 9 bits of t, and 0 < k < 255.
RMSNORM_FORMULA float power_of_low_bits(float t) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, t) << 23);
}

// Below this x, exp(x) is less than half of the smallest positive number, and silu(x) is -0.
static constexpr float kMinExponent = -128.0f;

// exp(x) for kMinExponent <= x <= 0. The error is at most 1 ulp, also for subnormal results.
// exp(0) = 1, exp(NaN) = NaN.
//
// x = n ln 2 + r with a whole number n and |r| <= ln 2 / 2, so exp(x) = 2^n exp(r):
//   n       kSum has an ulp of 1, so adding it to x / ln 2 rounds to a whole number. The lowest
//           bits of the sum t are n + 127 + 64, the biased exponent of 2^(n + 64).
//   r       ln 2 is split into two constants. The first has 15 significant bits. So its product
//           with n is exact, and so is x minus that product.
//   exp(r)  1 + r + c2 r^2 + ... + c6 r^6, with a relative error of at most 0.053 * 2^-24. The
//           coefficients are minimax; each was rounded before the next ones were computed.
//   2^n     exp(r) is multiplied by 2^(n + 64), then by 2^-64. The first product is exact, because
//           it is a normal number. The second is rounded if it is subnormal.
template <class V>
RMSNORM_FORMULA V exp_of(V x) {
  const auto c = [x](float value) { return filled(x, value); };
  constexpr float kSum = 0x1.8p23f + 127 + 64;
  const V t = fma(x, c(0x1.715476p+0f), c(kSum));
  const V n = t + c(-kSum);
  V r = fma(n, c(-0x1.62e4p-1f), x);
  r = fma(n, c(-0x1.7f7d1cp-20f), r);
  V p = fma(c(0x1.6a3d04p-10f), r, c(0x1.123856p-7f));
  p = fma(p, r, c(0x1.5558bep-5f));
  p = fma(p, r, c(0x1.555494p-3f));
  p = fma(p, r, c(0x1.fffffcp-2f));
  p = fma(p, r, c(1.0f));
  p = fma(p, r, c(1.0f));
  return p * power_of_low_bits(t) * c(0x1p-64f);
}

// silu(z) is z / (1 + e) for z >= 0 and z e / (1 + e) for z < 0, with e = exp(-|z|). e cannot
// overflow, because its exponent is never positive. The clamp of -|z| keeps -Inf times 0 from
// giving NaN: silu(-Inf) is -0. silu(-0) is -0.
template <class V>
RMSNORM_FORMULA V silu(V z) {
  const V x = at_least(minus_magnitude(z), kMinExponent);
  const V e = exp_of(x);
  return divide(choose(z, z, x * e), e + filled(z, 1.0f));
}

// silu'(z) = s (1 + z (1 - s)) with s = 1 / (1 + exp(-z)). 1 - s is computed as the s of -z,
// because a subtraction would lose digits where s is almost 1. The clamp of z keeps infinity times
// 0 from giving NaN: silu'(-Inf) is 0, silu'(Inf) is 1.
template <class V>
RMSNORM_FORMULA V silu_derivative(V z) {
  const V x = at_least(minus_magnitude(z), kMinExponent);
  const V e = exp_of(x);
  const V one = filled(z, 1.0f);
  const V larger = divide(one, e + one);
  const V smaller = e * larger;
  const V clamped = at_most(at_least(z, kMinExponent), -kMinExponent);
  const V other = choose(z, smaller, larger);
  return choose(z, larger, smaller) * fma(clamped, other, one);
}

}  // namespace
}  // namespace rmsnorm
