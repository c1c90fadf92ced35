// LayerNorm with AVX-512. Only this instruction set's own headers may be included here: see
// csrc/cpu/isa/variant_avx2.cc.

#include <immintrin.h>

#include "cpu/features.h"
#include "cpu/variant.h"
#include "layer_norm.h"
#include "op/float16.h"

namespace rmsnorm::bench {
namespace {

using namespace cpu;

#include "cpu/simd/types.h"

#include "cpu/simd/vector_avx512.h"

#include "cpu/simd/simd.h"

#include "layer_norm_rows.h"

}  // namespace

const LayerNormRows kLayerNormAvx512 = layer_norm_rows;

}  // namespace rmsnorm::bench
