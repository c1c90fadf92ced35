// AVX2 with FMA and F16C: 8 floats a register, a tile of the fold in 8 of them.
//
// Only this instruction set's own headers may be included here: whatever else were inlined would be
// compiled for AVX2, and could be what a processor without it is linked to.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kAvx2{"avx2",   kFeaturesAvx2,          nullptr,        prepare, forward,
                    backward, reference::add_partial, finish_dweight, convert};

}  // namespace rmsnorm::cpu
