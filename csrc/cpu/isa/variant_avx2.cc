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

#include "../simd/types.h"

#include "../simd/vector_avx2.h"

#include "../simd/tails.h"

#include "../kernels/row_kernels.h"

}  // namespace

const Variant kAvx2{"avx2",   kFeaturesAvx2, nullptr,        prepare, forward,
                    backward, add_partial,   finish_dweight, convert};

}  // namespace rmsnorm::cpu
