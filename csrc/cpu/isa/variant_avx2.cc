// AVX2 with FMA and F16C: 8 floats in a register, so the accumulators of a tile (fold.h) take 8
// registers.
//
// Include only headers whose inline functions are `static` or in an unnamed namespace. Any other
// inline function would be compiled for AVX2 here, and the linker could keep that copy for the
// whole program. It would then run on processors without AVX2.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kAvx2{"avx2",   kFeaturesAvx2,          nullptr,        prepare, forward,
                    backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
