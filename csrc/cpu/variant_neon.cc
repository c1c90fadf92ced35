// Advanced SIMD of AArch64: 4 floats a register, a tile of the fold in 16 of the 32.
//
// Only this instruction set's own headers may be included here: see variant_avx2.cc.

#include <arm_neon.h>

#include "../float16.h"
#include "features.h"
#include "variant.h"

namespace rmsnorm::cpu {
namespace {

#include "types.inl"

#include "vector_neon.inl"

#include "tails.inl"

#include "row_kernels.inl"

}  // namespace

const Variant kNeon{"neon",   kFeaturesNeon, nullptr,        prepare, forward,
                    backward, add_partial,   finish_dweight, convert};

}  // namespace rmsnorm::cpu
