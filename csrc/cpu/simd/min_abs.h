// Finds bfloat16 rows for which forward rounds no subnormal number to bfloat16. Only these rows can
// use the rounding instruction of AVX512_BF16, because it treats subnormal numbers as 0. Measured
// on Zen 4 with one thread: without the instruction, forward takes 1.25 to 1.32 times as long at
// 8x4096 to 512x4096, 1.11 to 1.15 times at 200x512 to 32x2048, and 1.0 to 1.18 times at 512x256.
// Masked rows of up to 224 columns (batched_rows.h) do not use the instruction. Without it they
// take 0.46 to 1.06 of the time at 512x64 and 512x128, and 0.92 to 1.02 at 512x200.
#pragma once

#include "../features.h"
#include "simd.h"

namespace rmsnorm::cpu {
namespace {

// Loads VecPairs of x for the row sum (SquareFactors in fold_rows.h).
template <class X>
struct Loads {
  RMSNORM_INLINE VecPair at(const X* source) { return load_pair<X>(source); }
  RMSNORM_INLINE VecPair masked(const X* source, std::int64_t begin, std::int64_t end) {
    return load_masked<X>(source, begin, end);
  }
  // A lower bound of the nonzero magnitudes in `count` rows, all of which this object has loaded;
  // 0: not known.
  RMSNORM_INLINE float value(const ConstRows&, std::int64_t, std::int64_t, std::int64_t) const {
    return 0.0f;
  }
};

// Loads in the same way, and also records how small the numbers are. This decides whether rounding
// may use the faster Floats::kNoSubnormals. Only the specialisation below records it: other types
// and instruction sets have no faster rounding.
template <class X>
struct MinAbs : Loads<X> {
  // The least nonzero magnitude of `count` numbers; 0: not known.
  template <class T>
  RMSNORM_INLINE static float of(const T*, std::int64_t) {
    return 0.0f;
  }
  // Whether rounding meets no subnormal number. The arguments are the least nonzero magnitude of x,
  // rstd, and the least nonzero magnitude of w.
  RMSNORM_INLINE static bool has_no_subnormals(float, Vec, float) { return false; }
};

#if defined(__AVX512BF16__)
template <>
struct MinAbs<BFloat16> : Loads<BFloat16> {
  __mmask32 small = 0;  // lanes that loaded a 0 or a number below 2^-63; in most rows none

  RMSNORM_INLINE VecPair at(const BFloat16* source) {
    const __m512i packed = _mm512_loadu_si512(source);
    small |= are_small(packed);
    return unpack_bfloat16(packed);
  }
  RMSNORM_INLINE VecPair masked(const BFloat16* source, std::int64_t begin, std::int64_t end) {
    const __mmask32 mask = bit_range(begin, end);
    const __m512i packed = _mm512_maskz_loadu_epi16(mask, source);
    small |= are_small(packed) & mask;
    return unpack_bfloat16(packed);
  }

  RMSNORM_INLINE float value(const ConstRows& rows, std::int64_t first, std::int64_t count,
                             std::int64_t hidden_size) const {
    if (small == 0) return 0x1p-63f;
    float least = __builtin_inff();
    for (std::int64_t r = 0; r < count; ++r) {
      const float row = of(row_of<BFloat16>(rows, first + r), hidden_size);
      if (row < least) least = row;
    }
    return least;
  }

  // Computes the minimum of 2 * bits - 1. The doubling drops the sign, and the subtraction turns 0
  // into the greatest value. The result is infinity if all numbers are 0.
  template <class T>
  [[gnu::noinline]] static float of(const T* values, std::int64_t count) {
    constexpr bool kIsShort = sizeof(T) == 2;
    const __m512i ones = _mm512_set1_epi32(-1);
    __m512i least = ones;
    for (std::int64_t j = 0; j < count; j += 64 / sizeof(T)) {
      const std::int64_t rest = count - j;
      const std::uint32_t mask = rest < 32 ? bit_range(0, rest) : 0xffffffff;
      if constexpr (kIsShort) {
        const __m512i x = _mm512_maskz_loadu_epi16(mask, values + j);
        least = _mm512_min_epu16(least, _mm512_add_epi16(_mm512_add_epi16(x, x), ones));
      } else {
        const __m512i x = _mm512_maskz_loadu_epi32(lower_mask(mask), values + j);
        least = _mm512_min_epu32(least, _mm512_add_epi32(_mm512_add_epi32(x, x), ones));
      }
    }
    // A lane holds the minima of two words. Moves the lower word up, so that the comparison
    // includes it.
    if (kIsShort) least = _mm512_min_epu32(least, _mm512_slli_epi32(least, 16));
    const std::uint32_t twice = (_mm512_reduce_min_epu32(least) >> (kIsShort ? 16 : 0)) + 1;
    const std::uint32_t bits = kIsShort ? (twice & 0xffff) << 15 : twice >> 1;
    return __builtin_bit_cast(float, bits == 0 ? 0x7f800000 : bits);
  }

  // Rounding keeps the order of magnitudes, so it is enough to test the smallest x and w. Here y is
  // computed from xhat, but forward may use T(xhat), which is more than half of xhat. So y must be
  // at least twice the smallest normal number.
  RMSNORM_INLINE static bool has_no_subnormals(float x, Vec rstd, float w) {
    const Vec xhat = Vec::broadcast(x) * rstd;
    const Vec y = xhat * Vec::broadcast(w);
    const __mmask16 normal = _mm512_cmp_ps_mask(xhat.v, _mm512_set1_ps(0x1p-126f), _CMP_GE_OQ) &
                             _mm512_cmp_ps_mask(y.v, _mm512_set1_ps(0x1p-125f), _CMP_GE_OQ);
    return normal == 0xffff && (cpu_features() & kFeatureAvx512Bf16);
  }

 private:
  RMSNORM_INLINE static __mmask32 are_small(__m512i packed) {
    return _mm512_testn_epi16_mask(packed, _mm512_set1_epi16(0x6000));
  }
};
#endif

}  // namespace
}  // namespace rmsnorm::cpu
