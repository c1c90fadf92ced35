// Advanced SIMD of AArch64: 4 floats in a register, so the accumulators of a tile (fold.h) take 16
// of the 32 registers.
//
// variant_avx2.cc says which headers may be included here.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kNeon{"neon",   kFeaturesNeon,          nullptr,        prepare, forward,
                    backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
