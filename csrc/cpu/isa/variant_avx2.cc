// AVX2 with FMA and F16C: 8 floats a register, a tile of the fold in 8 registers.
//
// Include only headers of this instruction set here. Any other inline function would be compiled
// for AVX2, and the linker could take that copy for a processor without AVX2.

#include "../features.h"
#include "../kernels/row_kernels.h"

namespace rmsnorm::cpu {

const Variant kAvx2{"avx2",   kFeaturesAvx2,          nullptr,        prepare, forward,
                    backward, reference::add_partial, reduce_dweight, convert};

}  // namespace rmsnorm::cpu
