// The lanes of a Vec as integers, in the vector extension of GCC and Clang. Its arithmetic,
// comparisons and shifts work lane by lane, the same for all instruction sets.
#pragma once

#include "simd.h"

namespace rmsnorm::cpu {
namespace {

typedef std::int32_t IntLanes __attribute__((vector_size(sizeof(Vec))));

RMSNORM_INLINE IntLanes int_lanes(Vec v) { return reinterpret_cast<IntLanes>(v.v); }
RMSNORM_INLINE Vec float_lanes(IntLanes lanes) {
  return {reinterpret_cast<decltype(Vec::v)>(lanes)};
}

}  // namespace
}  // namespace rmsnorm::cpu
