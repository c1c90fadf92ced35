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

}  // namespace

std::uint32_t cpu_features() {
  constexpr std::uint64_t kXmmYmm = 6;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
  const unsigned needed = bit_FMA | bit_F16C | bit_AVX | bit_OSXSAVE;
  if ((ecx & needed) != needed || (enabled_state() & kXmmYmm) != kXmmYmm) return 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  return ebx & bit_AVX2 ? kFeaturesAvx2 : 0;
}

#elif defined(__aarch64__)

std::uint32_t cpu_features() { return kFeaturesNeon; }  // part of every AArch64

#else

std::uint32_t cpu_features() { return 0; }

#endif

}  // namespace rmsnorm::cpu
