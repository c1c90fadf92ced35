// AVX-512 (F, BW, VL, DQ) with FMA and F16C: 16 floats a register, a tile of the fold in 4.
//
// Include only headers of this instruction set here: see variant_avx2.cc.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kAvx512{"avx512", kFeaturesAvx512,        &kAvx2,         prepare, forward,
                      backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
