#include "features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rmsnorm::cpu {

#if defined(__x86_64__)

namespace {

// The state components the operating system saves on a context switch (Intel SDM, XGETBV).
std::uint64_t enabled_state() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

std::uint32_t find_features() {
  constexpr std::uint64_t kXmmYmm = 0x06;
  constexpr std::uint64_t kMasksZmm = 0xe0;  // opmasks, upper halves of ZMM0-15, ZMM16-31
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  const unsigned needed = bit_FMA | bit_F16C | bit_AVX | bit_OSXSAVE;
  if ((ecx & needed) != needed) return 0;
  const std::uint64_t state = enabled_state();
  if ((state & kXmmYmm) != kXmmYmm) return 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_AVX2)) return 0;
  constexpr unsigned kAvx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  const bool avx512 = (ebx & kAvx512) == kAvx512 && (state & kMasksZmm) == kMasksZmm;
  if (!avx512) return kFeaturesAvx2;
  constexpr unsigned kAvx512Bf16 = 1 << 5;
  const bool bf16 = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kAvx512Bf16);
  return kFeaturesAvx2 | kFeaturesAvx512 | (bf16 ? kFeatureAvx512Bf16 : 0);
}

}  // namespace

// Queried once: under a hypervisor, CPUID can take longer than a call on a short row.
std::uint32_t cpu_features() {
  static const std::uint32_t features = find_features();
  return features;
}

#elif defined(__aarch64__)

std::uint32_t cpu_features() { return kFeaturesNeon; }  // part of every AArch64

#else

std::uint32_t cpu_features() { return 0; }

#endif

}  // namespace rmsnorm::cpu
