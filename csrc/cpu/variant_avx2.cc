// AVX2 with FMA and F16C: 8 floats a register, a tile of the fold in 8 of them.
//
// Only this instruction set's own headers may be included here: whatever else were inlined would be
// compiled for AVX2, and could be what a processor without it is linked to.

#include <immintrin.h>

#include "../float16.h"
#include "features.h"
#include "variant.h"

namespace rmsnorm::cpu {
namespace {

#include "types.inl"

#include "vector_avx2.inl"

#include "tails.inl"

#include "row_kernels.inl"

}  // namespace

const Variant kAvx2{"avx2",   kFeaturesAvx2, nullptr,        prepare, forward,
                    backward, add_partial,   finish_dweight, convert};

}  // namespace rmsnorm::cpu
