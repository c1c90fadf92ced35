#include "floating_point_mode.h"

#if defined(__x86_64__)

#include <xmmintrin.h>

namespace rmsnorm::test {
namespace {

constexpr unsigned kDenormalsAreZero = 1u << 6;
constexpr unsigned kFlushToZero = 1u << 15;
constexpr unsigned kRoundingShift = 13;
constexpr unsigned kModes = kDenormalsAreZero | kFlushToZero | 3u << kRoundingShift;

}  // namespace

FloatingPointMode floating_point_mode() {
  const unsigned mxcsr = _mm_getcsr();
  return {(mxcsr & kFlushToZero) != 0, (mxcsr & kDenormalsAreZero) != 0,
          static_cast<FloatingPointMode::Rounding>(mxcsr >> kRoundingShift & 3)};
}

void set_floating_point_mode(const FloatingPointMode& mode) {
  unsigned mxcsr = _mm_getcsr() & ~kModes;
  if (mode.flush_to_zero) mxcsr |= kFlushToZero;
  if (mode.denormals_are_zero) mxcsr |= kDenormalsAreZero;
  _mm_setcsr(mxcsr | static_cast<unsigned>(mode.rounding) << kRoundingShift);
}

}  // namespace rmsnorm::test

#elif defined(__aarch64__)

#include <cstdint>

namespace rmsnorm::test {
namespace {

constexpr std::uint64_t kFlushToZero = std::uint64_t{1} << 24;
constexpr unsigned kRoundingShift = 22;
constexpr FloatingPointMode::Rounding kRoundings[] = {
    FloatingPointMode::kNearest, FloatingPointMode::kUp, FloatingPointMode::kDown,
    FloatingPointMode::kZero};

}  // namespace

FloatingPointMode floating_point_mode() {
  std::uint64_t fpcr = 0;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  const bool flushes = (fpcr & kFlushToZero) != 0;
  return {flushes, flushes, kRoundings[fpcr >> kRoundingShift & 3]};
}

void set_floating_point_mode(const FloatingPointMode& mode) {
  std::uint64_t fpcr = 0;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  fpcr &= ~(kFlushToZero | std::uint64_t{3} << kRoundingShift);
  if (mode.flush_to_zero || mode.denormals_are_zero) fpcr |= kFlushToZero;
  for (std::uint64_t bits = 0; bits < 4; ++bits) {
    if (kRoundings[bits] == mode.rounding) fpcr |= bits << kRoundingShift;
  }
  asm volatile("msr fpcr, %0" : : "r"(fpcr) : "memory");
}

}  // namespace rmsnorm::test

#endif
