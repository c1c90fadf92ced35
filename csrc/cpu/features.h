// What this processor and its operating system can run.
#pragma once

#include <cstdint>

namespace rmsnorm::cpu {

static constexpr std::uint32_t kFeaturesAvx2 = 1;  // AVX2, FMA and F16C, and the OS saves YMM
static constexpr std::uint32_t kFeaturesNeon = 2;

std::uint32_t cpu_features();

}  // namespace rmsnorm::cpu
