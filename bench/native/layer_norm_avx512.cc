// LayerNorm with AVX-512. Only this instruction set's own headers may be included here: see
// csrc/cpu/isa/variant_avx2.cc.

#include "layer_norm_rows.h"

namespace rmsnorm::bench {

const LayerNormRows kLayerNormAvx512 = layer_norm_rows;

}  // namespace rmsnorm::bench
