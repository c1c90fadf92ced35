// AVX2 with FMA and F16C: 8 floats a register, a tile of the fold in 8 of them.
//
// Only this instruction set's own headers may be included here: whatever else were inlined would be
// compiled for AVX2, and could be what a processor without it is linked to.

#include <immintrin.h>

#include "../../op/float16.h"
#include "../features.h"
#include "../variant.h"

namespace rmsnorm::cpu {
namespace {

#include "../simd/types.inl"

#include "../simd/vector_avx2.inl"

#include "../simd/tails.inl"

#include "../kernels/row_kernels.inl"

}  // namespace

const Variant kAvx2{"avx2",   kFeaturesAvx2, nullptr,        prepare, forward,
                    backward, add_partial,   finish_dweight, convert};

}  // namespace rmsnorm::cpu
