// The functions that op/silu.h needs, for vectors: one implementation for all instruction sets.
#pragma once

#include "../../op/silu.h"
#include "lanes.h"

namespace rmsnorm::cpu {
namespace {

RMSNORM_INLINE Vec filled(Vec, float value) { return Vec::broadcast(value); }
RMSNORM_INLINE Vec minus_magnitude(Vec z) { return float_lanes(int_lanes(z) | INT32_MIN); }
RMSNORM_INLINE Vec at_least(Vec z, float least) {
  const Vec all = Vec::broadcast(least);
  return {z.v < all.v ? all.v : z.v};
}
RMSNORM_INLINE Vec at_most(Vec z, float most) {
  const Vec all = Vec::broadcast(most);
  return {z.v > all.v ? all.v : z.v};
}
RMSNORM_INLINE Vec choose(Vec z, Vec positive, Vec other) {
  return {z.v >= Vec::zero().v ? positive.v : other.v};
}
RMSNORM_INLINE Vec power_of_low_bits(Vec t) { return float_lanes(int_lanes(t) << 23); }

RMSNORM_INLINE VecPair filled(VecPair z, float value) {
  return {filled(z.a, value), filled(z.b, value)};
}
RMSNORM_INLINE VecPair divide(VecPair x, VecPair y) { return {divide(x.a, y.a), divide(x.b, y.b)}; }
RMSNORM_INLINE VecPair minus_magnitude(VecPair z) {
  return {minus_magnitude(z.a), minus_magnitude(z.b)};
}
RMSNORM_INLINE VecPair at_least(VecPair z, float least) {
  return {at_least(z.a, least), at_least(z.b, least)};
}
RMSNORM_INLINE VecPair at_most(VecPair z, float most) {
  return {at_most(z.a, most), at_most(z.b, most)};
}
RMSNORM_INLINE VecPair choose(VecPair z, VecPair positive, VecPair other) {
  return {choose(z.a, positive.a, other.a), choose(z.b, positive.b, other.b)};
}
RMSNORM_INLINE VecPair power_of_low_bits(VecPair t) {
  return {power_of_low_bits(t.a), power_of_low_bits(t.b)};
}

}  // namespace
}  // namespace rmsnorm::cpu
