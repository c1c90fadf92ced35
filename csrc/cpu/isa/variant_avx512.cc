// AVX-512 (F, BW, VL, DQ) with FMA and F16C: 16 floats in a register, so the accumulators of a tile
// (fold.h) take 4 registers.
//
// variant_avx2.cc says which headers may be included here.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kAvx512{"avx512", kFeaturesAvx512,        &kAvx2,         prepare, forward,
                      backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
