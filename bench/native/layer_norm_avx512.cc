// LayerNorm with AVX-512. Only this instruction set's own headers may be included here: see
// csrc/cpu/variant_avx2.cc.

#include <immintrin.h>

#include "cpu/features.h"
#include "cpu/variant.h"
#include "float16.h"
#include "layer_norm.h"

namespace rmsnorm::bench {
namespace {

using namespace cpu;

#include "cpu/types.inl"

#include "cpu/vector_avx512.inl"

#include "cpu/pairs.inl"

#include "layer_norm_rows.inl"

}  // namespace

const LayerNormRows kLayerNormAvx512 = layer_norm_rows;

}  // namespace rmsnorm::bench
