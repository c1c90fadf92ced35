// Vectors of AVX2 with FMA and F16C, 8 floats each: what simd.h needs from an instruction set.
#pragma once

#include <immintrin.h>

#include "types.h"

namespace rmsnorm::cpu {
namespace {

struct Vec {
  static constexpr int kLanes = 8;
  __m256 v;

  RMSNORM_INLINE static Vec zero() { return {_mm256_setzero_ps()}; }
  RMSNORM_INLINE static Vec broadcast(float value) { return {_mm256_set1_ps(value)}; }
  RMSNORM_INLINE static Vec load(const float* source) { return {_mm256_loadu_ps(source)}; }
  RMSNORM_INLINE void store(float* destination) const { _mm256_storeu_ps(destination, v); }
};

using VecPair = PairOf<Vec>;

static constexpr int kRegisters = 16;

RMSNORM_INLINE Vec operator+(Vec x, Vec y) { return {_mm256_add_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec operator*(Vec x, Vec y) { return {_mm256_mul_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec fma(Vec x, Vec y, Vec z) { return {_mm256_fmadd_ps(x.v, y.v, z.v)}; }
RMSNORM_INLINE Vec divide(Vec x, Vec y) { return {_mm256_div_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec sqrt(Vec x) { return {_mm256_sqrt_ps(x.v)}; }

RMSNORM_INLINE bool all_within(Vec x, float low, float high) {
  const __m256 from = _mm256_cmp_ps(x.v, _mm256_set1_ps(low), _CMP_GE_OQ);
  const __m256 to = _mm256_cmp_ps(x.v, _mm256_set1_ps(high), _CMP_LE_OQ);
  return _mm256_movemask_ps(_mm256_and_ps(from, to)) == 0xff;
}

RMSNORM_INLINE __m256i bits(Vec x) { return _mm256_castps_si256(x.v); }
RMSNORM_INLINE Vec floats(__m256i x) { return {_mm256_castsi256_ps(x)}; }

template <class X>
static constexpr bool kInterleaved = __is_same(X, BFloat16);

template <class X>
static constexpr Stores kStreaming = Stores::kStreaming;

// [0 … 7], [8 … 15]  ->  [0 2 … 14], [1 3 … 15]
RMSNORM_INLINE VecPair interleave(VecPair x) {
  const __m256 even = _mm256_shuffle_ps(x.a.v, x.b.v, _MM_SHUFFLE(2, 0, 2, 0));
  const __m256 odd = _mm256_shuffle_ps(x.a.v, x.b.v, _MM_SHUFFLE(3, 1, 3, 1));
  const auto in_order = [](__m256 v) {
    return Vec{
        _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), _MM_SHUFFLE(3, 1, 2, 0)))};
  };
  return {in_order(even), in_order(odd)};
}

// The inverse of interleave.
RMSNORM_INLINE VecPair deinterleave(VecPair x) {
  const __m256 low = _mm256_unpacklo_ps(x.a.v, x.b.v);
  const __m256 high = _mm256_unpackhi_ps(x.a.v, x.b.v);
  return {{_mm256_permute2f128_ps(low, high, 0x20)}, {_mm256_permute2f128_ps(low, high, 0x31)}};
}

// The upper half of each lane is x rounded to bfloat16; the lower half is undefined.
template <Floats kWhich>
RMSNORM_INLINE __m256i round_to_bfloat16(Vec x) {
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits(x), 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_add_epi32(_mm256_add_epi32(bits(x), _mm256_set1_epi32(0x7fff)), odd);
  if constexpr (kWhich == Floats::kQuietNaN) {
    return rounded;
  } else {
    const __m256 quiet = _mm256_or_ps(x.v, floats(_mm256_set1_epi32(0x00400000)).v);
    const __m256 unordered = _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q);
    return bits({_mm256_blendv_ps(floats(rounded).v, quiet, unordered)});
  }
}

// The same rounding in three operations instead of five: Veltkamp's splitting (T. J. Dekker, "A
// floating-point technique for extending the available precision", 1971). The product is about 2^16
// times x, so its ulp is the ulp of x in bfloat16. Ties also go to even. The result is wrong if x
// is subnormal or infinite or if the product overflows. Each of these cases raises an exception
// flag.
RMSNORM_INLINE Vec split_bfloat16(Vec x) {
  const __m256 product = _mm256_mul_ps(x.v, _mm256_set1_ps(0x1p16f + 1));
  return {_mm256_sub_ps(product, _mm256_sub_ps(product, x.v))};
}

template <class X>
static constexpr bool kWatches = __is_same(X, BFloat16);

// MXCSR's flags for invalid operations, subnormal operands and overflow. restore() raises the flags
// again that clear() found raised. It is not a destructor, because a destructor would need the C++
// library's exception handling here.
class ExceptionFlags {
 public:
  RMSNORM_INLINE void clear() {
    const std::uint32_t value = read();
    if ((value & kFlags) == 0) return;
    earlier_ |= value & kFlags;
    write(value & ~kFlags);
  }
  RMSNORM_INLINE bool are_raised() const { return (read() & kFlags) != 0; }
  RMSNORM_INLINE void restore() const {
    if (earlier_ != 0) write(read() | earlier_);
  }

 private:
  static constexpr std::uint32_t kFlags =
      _MM_EXCEPT_INVALID | _MM_EXCEPT_DENORM | _MM_EXCEPT_OVERFLOW;

  // The memory clobber ensures that the arithmetic of all earlier stores is done.
  RMSNORM_INLINE static std::uint32_t read() {
    std::uint32_t value;
    __asm__ volatile("vstmxcsr %0" : "=m"(value) : : "memory");
    return value;
  }
  RMSNORM_INLINE static void write(std::uint32_t value) {
    __asm__ volatile("vldmxcsr %0" : : "m"(value) : "memory");
  }

  std::uint32_t earlier_ = 0;
};

template <class X>
RMSNORM_INLINE VecPair load_pair(const X* source) {
  if constexpr (__is_same(X, float)) {
    return {Vec::load(source), Vec::load(source + Vec::kLanes)};
  } else if constexpr (__is_same(X, BFloat16)) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    return {floats(_mm256_slli_epi32(packed, 16)),
            floats(_mm256_and_si256(packed, _mm256_set1_epi32(-0x10000)))};
  } else {
    const __m128i* halves = reinterpret_cast<const __m128i*>(source);
    return {{_mm256_cvtph_ps(_mm_loadu_si128(halves))},
            {_mm256_cvtph_ps(_mm_loadu_si128(halves + 1))}};
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE VecPair round_pair(VecPair x) {
  if constexpr (__is_same(X, float)) {
    return x;
  } else if constexpr (__is_same(X, BFloat16) && kWhich == Floats::kWatched) {
    return {split_bfloat16(x.a), split_bfloat16(x.b)};
  } else if constexpr (__is_same(X, BFloat16)) {
    const auto round = [](Vec v) {
      return floats(_mm256_and_si256(round_to_bfloat16<kWhich>(v), _mm256_set1_epi32(-0x10000)));
    };
    return {round(x.a), round(x.b)};
  } else {
    const auto round = [](Vec v) {
      return Vec{_mm256_cvtph_ps(_mm256_cvtps_ph(v.v, _MM_FROUND_TO_NEAREST_INT))};
    };
    return {round(x.a), round(x.b)};
  }
}

// The 16 elements of a 16-bit VecPair, as they are in memory.
template <class X, Floats kWhich>
RMSNORM_INLINE __m256i pack_pair(VecPair x) {
  if constexpr (__is_same(X, BFloat16)) {
    if constexpr (kWhich == Floats::kWatched) {
      return _mm256_or_si256(_mm256_srli_epi32(bits(split_bfloat16(x.a)), 16),
                             bits(split_bfloat16(x.b)));
    }
    const __m256i even = _mm256_srli_epi32(round_to_bfloat16<kWhich>(x.a), 16);
    return _mm256_blend_epi16(even, round_to_bfloat16<kWhich>(x.b), 0xaa);
  } else {
    return _mm256_setr_m128i(_mm256_cvtps_ph(x.a.v, _MM_FROUND_TO_NEAREST_INT),
                             _mm256_cvtps_ph(x.b.v, _MM_FROUND_TO_NEAREST_INT));
  }
}

RMSNORM_INLINE void store_bits(void* destination, __m256i value) {
  _mm256_storeu_si256(static_cast<__m256i*>(destination), value);
}
RMSNORM_INLINE void stream_bits(void* destination, __m256i value) {
  _mm256_stream_si256(static_cast<__m256i*>(destination), value);
}

// Integers, at most 127; NaN becomes 0. kBounded: the lanes are numbers near [-127, 127].
template <bool kBounded>
RMSNORM_INLINE __m256i round_to_int8(Vec x) {
  if constexpr (kBounded) return _mm256_cvtps_epi32(x.v);
  const __m256 number = _mm256_and_ps(x.v, _mm256_cmp_ps(x.v, x.v, _CMP_ORD_Q));
  return _mm256_cvtps_epi32(_mm256_min_ps(number, _mm256_set1_ps(127.0f)));
}
RMSNORM_INLINE void store_int8(void* destination, __m256i a, __m256i b) {
  // This instruction packs each 128-bit half by itself, so quarters of a and b alternate in the
  // result.
  const __m256i words = _mm256_packs_epi32(a, b);
  const __m256i in_order = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(in_order), _mm256_extracti128_si256(in_order, 1));
  _mm_storeu_si128(static_cast<__m128i*>(destination), bytes);
}

RMSNORM_INLINE void prefetch(const void* address) { _mm_prefetch(address, _MM_HINT_T0); }
RMSNORM_INLINE void stream_fence() { _mm_sfence(); }

RMSNORM_INLINE Vec sum_lanes(const Vec (&v)[Vec::kLanes]) {
  // Adds lanes 4 apart: v[i] goes to the lower half, v[i + 4] to the upper. Then adds lanes 2
  // apart, then neighbours.
  __m256 four[4];
  for (int i = 0; i < 4; ++i) {
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i].v, v[i + 4].v, 0x20),
                            _mm256_permute2f128_ps(v[i].v, v[i + 4].v, 0x31));
  }
  __m256 two[2];
  for (int i = 0; i < 2; ++i) {
    const __m256 x = four[2 * i];
    const __m256 y = four[2 * i + 1];
    two[i] = _mm256_add_ps(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(1, 0, 1, 0)),
                           _mm256_shuffle_ps(x, y, _MM_SHUFFLE(3, 2, 3, 2)));
  }
  return {_mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], _MM_SHUFFLE(2, 0, 2, 0)),
                        _mm256_shuffle_ps(two[0], two[1], _MM_SHUFFLE(3, 1, 3, 1)))};
}

RMSNORM_INLINE Vec halve_lanes(Vec v, std::int64_t count) {
  if (count <= 4) v = v + Vec{_mm256_permute2f128_ps(v.v, v.v, 0x01)};
  if (count <= 2) v = v + Vec{_mm256_permute_ps(v.v, _MM_SHUFFLE(1, 0, 3, 2))};
  if (count <= 1) v = v + Vec{_mm256_permute_ps(v.v, _MM_SHUFFLE(2, 3, 0, 1))};
  return v;
}

}  // namespace
}  // namespace rmsnorm::cpu
