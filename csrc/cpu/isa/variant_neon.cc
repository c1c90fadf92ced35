// Advanced SIMD of AArch64: 4 floats a register, a tile of the fold in 16 of the 32 registers.
//
// Include only headers of this instruction set here: see variant_avx2.cc.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kNeon{"neon",   kFeaturesNeon,          nullptr,        prepare, forward,
                    backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
