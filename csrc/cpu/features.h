// The instruction sets that this processor and its operating system support, as a set of bits.
#pragma once

#include <cstdint>

namespace rmsnorm::cpu {

static constexpr std::uint32_t kFeaturesAvx2 = 1;  // AVX2, FMA and F16C, and the OS saves YMM
static constexpr std::uint32_t kFeaturesNeon = 2;
// AVX-512 F, BW, VL and DQ in addition to kFeaturesAvx2, and the OS saves ZMM
static constexpr std::uint32_t kFeaturesAvx512 = 4;
static constexpr std::uint32_t kFeatureAvx512Bf16 = 8;

std::uint32_t cpu_features();

}  // namespace rmsnorm::cpu
