// LayerNorm with NEON. Only this instruction set's own headers may be included here: see
// csrc/cpu/isa/variant_avx2.cc.

#include <arm_neon.h>

#include "cpu/features.h"
#include "cpu/variant.h"
#include "layer_norm.h"
#include "op/float16.h"

namespace rmsnorm::bench {
namespace {

using namespace cpu;

#include "cpu/simd/types.h"

#include "cpu/simd/vector_neon.h"

#include "cpu/simd/tails.h"

#include "cpu/simd/simd.h"

#include "layer_norm_rows.h"

}  // namespace

const LayerNormRows kLayerNormNeon = layer_norm_rows;

}  // namespace rmsnorm::bench
