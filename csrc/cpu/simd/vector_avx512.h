// Vectors of AVX-512 (F, BW, VL, DQ) with FMA and F16C, 16 floats each: what simd.h needs from an
// instruction set.
#pragma once

#include <immintrin.h>

#include "types.h"

namespace rmsnorm::cpu {
namespace {

struct Vec {
  static constexpr int kLanes = 16;
  __m512 v;

  RMSNORM_INLINE static Vec zero() { return {_mm512_setzero_ps()}; }
  RMSNORM_INLINE static Vec broadcast(float value) { return {_mm512_set1_ps(value)}; }
  RMSNORM_INLINE static Vec load(const float* source) { return {_mm512_loadu_ps(source)}; }
  RMSNORM_INLINE void store(float* destination) const { _mm512_storeu_ps(destination, v); }
};

using VecPair = PairOf<Vec>;

static constexpr int kRegisters = 32;

RMSNORM_INLINE Vec operator+(Vec x, Vec y) { return {_mm512_add_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec operator*(Vec x, Vec y) { return {_mm512_mul_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec fma(Vec x, Vec y, Vec z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
RMSNORM_INLINE Vec divide(Vec x, Vec y) { return {_mm512_div_ps(x.v, y.v)}; }
RMSNORM_INLINE Vec sqrt(Vec x) { return {_mm512_sqrt_ps(x.v)}; }

RMSNORM_INLINE bool all_within(Vec x, float low, float high) {
  const __mmask16 from = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(low), _CMP_GE_OQ);
  return _mm512_mask_cmp_ps_mask(from, x.v, _mm512_set1_ps(high), _CMP_LE_OQ) == 0xffff;
}

RMSNORM_INLINE __m512i bits(Vec x) { return _mm512_castps_si512(x.v); }
RMSNORM_INLINE Vec floats(__m512i x) { return {_mm512_castsi512_ps(x)}; }

template <class X>
static constexpr bool kInterleaved = __is_same(X, BFloat16);

// float32 is stored with cached stores, because the backend leaves float32 calls with streaming
// stores to the AVX2 variant.
template <class X>
static constexpr Stores kStreaming = __is_same(X, float) ? Stores::kCached : Stores::kStreaming;

// Indices for permutations of the lanes of two registers: 0, 2, … 30, and 0, 16, 1, 17, … 23.
RMSNORM_INLINE __m512i even_lanes() {
  return _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
RMSNORM_INLINE __m512i alternating_lanes() {
  return _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// Indices for a permutation of the 16-bit words of one register: 0, 16, 1, 17, … 31.
RMSNORM_INLINE __m512i alternating_words() {
  const __m512i even = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_or_si512(even,
                         _mm512_slli_epi32(_mm512_add_epi32(even, _mm512_set1_epi32(16)), 16));
}

// [0 … 15], [16 … 31]  ->  [0 2 … 30], [1 3 … 31]
RMSNORM_INLINE VecPair interleave(VecPair x) {
  const __m512i even = even_lanes();
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return {{_mm512_permutex2var_ps(x.a.v, even, x.b.v)},
          {_mm512_permutex2var_ps(x.a.v, odd, x.b.v)}};
}

// The inverse of interleave.
RMSNORM_INLINE VecPair deinterleave(VecPair x) {
  const __m512i low = alternating_lanes();
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  return {{_mm512_permutex2var_ps(x.a.v, low, x.b.v)},
          {_mm512_permutex2var_ps(x.a.v, high, x.b.v)}};
}

RMSNORM_INLINE __m512i upper_halves(__m512i x) {
  return _mm512_and_si512(x, _mm512_set1_epi32(-0x10000));
}

// Unpacks 32 bfloat16: even columns are in the lower half of each 32 bits, odd ones in the upper.
RMSNORM_INLINE VecPair unpack_bfloat16(__m512i packed) {
  return {floats(_mm512_slli_epi32(packed, 16)), floats(upper_halves(packed))};
}

// Packs 32 bfloat16, rounded to nearest even. The upper half of a float is rounded up if its lower
// half exceeds 0x8000, which is half an ulp of the result. It is also rounded up if the lower half
// is 0x8000 and the upper half is odd. One register holds the upper halves of all 32 floats,
// another the lower halves. So 32 roundings take as few instructions as 16 would with 32 bits each.
// An instruction of AVX512_BF16 does the same for numbers that are not subnormal
// (Floats::kNoSubnormals).
template <Floats kWhich>
RMSNORM_INLINE __m512i pack_bfloat16(VecPair x) {
  if constexpr (kWhich == Floats::kNoSubnormals) {
    const __m512i even_then_odd = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(x.b.v, x.a.v));
    return _mm512_permutexvar_epi16(alternating_words(), even_then_odd);
  }
  __m512i even = bits(x.a);
  __m512i odd = bits(x.b);
  if constexpr (kWhich == Floats::kAny) {
    const auto shorten = [](Vec v) {
      const __m512i quiet = upper_halves(_mm512_or_si512(bits(v), _mm512_set1_epi32(0x00400000)));
      return _mm512_mask_mov_epi32(bits(v), _mm512_cmp_ps_mask(v.v, v.v, _CMP_UNORD_Q), quiet);
    };
    even = shorten(x.a);
    odd = shorten(x.b);
  }
  const __m512i swap =
      _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  const __m512i upper = _mm512_mask_shuffle_epi8(odd, 0x3333333333333333, even, swap);
  const __m512i lower = _mm512_mask_shuffle_epi8(even, 0xcccccccccccccccc, odd, swap);
  // lower | (upper & 1)
  const __m512i sticky = _mm512_ternarylogic_epi32(lower, upper, _mm512_set1_epi16(1), 0xf8);
  const __mmask32 up = _mm512_cmpgt_epu16_mask(sticky, _mm512_set1_epi16(-0x8000));
  return _mm512_mask_sub_epi16(upper, up, upper, _mm512_set1_epi16(-1));
}

// Words 0 to 15 and words 16 to 31, each in the upper half of 32 bits.
RMSNORM_INLINE VecPair spread_words(__m512i packed) {
  const __m512i low = _mm512_slli_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 16);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16 << 16));
  return {floats(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, low, packed)),
          floats(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, high, packed))};
}

RMSNORM_INLINE __m256i to_float16(Vec x) { return _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT); }

// The 32 elements of a 16-bit VecPair, as they are in memory.
template <class X, Floats kWhich>
RMSNORM_INLINE __m512i pack_pair(VecPair x) {
  if constexpr (__is_same(X, BFloat16)) {
    return pack_bfloat16<kWhich>(x);
  } else {
    return _mm512_inserti64x4(_mm512_castsi256_si512(to_float16(x.a)), to_float16(x.b), 1);
  }
}

template <class X>
RMSNORM_INLINE VecPair unpack_pair(__m512i packed) {
  if constexpr (__is_same(X, BFloat16)) {
    return unpack_bfloat16(packed);
  } else {
    return {{_mm512_cvtph_ps(_mm512_castsi512_si256(packed))},
            {_mm512_cvtph_ps(_mm512_extracti64x4_epi64(packed, 1))}};
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE VecPair round_pair(VecPair x) {
  if constexpr (__is_same(X, float)) {
    return x;
  } else if constexpr (__is_same(X, BFloat16) && kWhich == Floats::kNoSubnormals) {
    return spread_words(reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(x.b.v, x.a.v)));
  } else if constexpr (__is_same(X, BFloat16)) {
    return unpack_bfloat16(pack_bfloat16<kWhich>(x));
  } else {
    return {{_mm512_cvtph_ps(to_float16(x.a))}, {_mm512_cvtph_ps(to_float16(x.b))}};
  }
}

template <class X>
RMSNORM_INLINE VecPair load_pair(const X* source) {
  if constexpr (__is_same(X, float)) {
    return {Vec::load(source), Vec::load(source + Vec::kLanes)};
  } else if constexpr (__is_same(X, BFloat16)) {
    return unpack_bfloat16(_mm512_loadu_si512(source));
  } else {
    const __m256i* halves = reinterpret_cast<const __m256i*>(source);
    return {{_mm512_cvtph_ps(_mm256_loadu_si256(halves))},
            {_mm512_cvtph_ps(_mm256_loadu_si256(halves + 1))}};
  }
}

// float16 is stored in halves, because it is converted in halves. Joining them before the store
// takes 1.05 times as long.
template <class X, Floats kWhich>
requires(__is_same(X, Float16)) RMSNORM_INLINE void store_pair(X* destination, VecPair value) {
  __m256i* const halves = reinterpret_cast<__m256i*>(destination);
  _mm256_storeu_si256(halves, to_float16(value.a));
  _mm256_storeu_si256(halves + 1, to_float16(value.b));
}

RMSNORM_INLINE void store_bits(void* destination, __m512i value) {
  _mm512_storeu_si512(destination, value);
}
RMSNORM_INLINE void stream_bits(void* destination, __m512i value) {
  _mm512_stream_si512(static_cast<__m512i*>(destination), value);
}

// Integers, at most 127; NaN becomes 0. kBounded: the lanes are numbers near [-127, 127].
template <bool kBounded>
RMSNORM_INLINE __m512i round_to_int8(Vec x) {
  if constexpr (kBounded) return _mm512_cvtps_epi32(x.v);
  const __mmask16 is_number = _mm512_cmp_ps_mask(x.v, x.v, _CMP_ORD_Q);
  return _mm512_maskz_cvtps_epi32(is_number, _mm512_min_ps(x.v, _mm512_set1_ps(127.0f)));
}
RMSNORM_INLINE void store_int8(void* destination, __m512i a, __m512i b) {
  const __m256i bytes = _mm256_set_m128i(_mm512_cvtsepi32_epi8(b), _mm512_cvtsepi32_epi8(a));
  _mm256_storeu_si256(static_cast<__m256i*>(destination), bytes);
}

RMSNORM_INLINE void prefetch(const void* address) { _mm_prefetch(address, _MM_HINT_T0); }
RMSNORM_INLINE void stream_fence() { _mm_sfence(); }

// Masks serve to load one cache line at a time. float16 gains nothing from that: its VecPairs are
// loaded in halves, and every other half is within one cache line anyway.
template <class X>
static constexpr bool kMasks = !__is_same(X, Float16);

// Bits [begin, end) of 32.
RMSNORM_INLINE std::uint32_t bit_range(std::int64_t begin, std::int64_t end) {
  return static_cast<std::uint32_t>((std::uint64_t{1} << end) - (std::uint64_t{1} << begin));
}
RMSNORM_INLINE __mmask16 lower_mask(std::uint32_t mask) { return static_cast<__mmask16>(mask); }
RMSNORM_INLINE __mmask16 upper_mask(std::uint32_t mask) {
  return static_cast<__mmask16>(mask >> Vec::kLanes);
}

template <class X, class T>
RMSNORM_INLINE VecPair load_masked(const T* source, std::int64_t begin, std::int64_t end) {
  const std::uint32_t mask = bit_range(begin, end);
  if constexpr (__is_same(T, float)) {
    const VecPair natural{{_mm512_maskz_loadu_ps(lower_mask(mask), source)},
                          {_mm512_maskz_loadu_ps(upper_mask(mask), source + Vec::kLanes)}};
    return kInterleaved<X> ? interleave(natural) : natural;
  } else {
    return unpack_pair<X>(_mm512_maskz_loadu_epi16(mask, source));
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE void store_masked(X* destination, std::int64_t begin, std::int64_t end,
                                 VecPair value) {
  const std::uint32_t mask = bit_range(begin, end);
  if constexpr (__is_same(X, float)) {
    _mm512_mask_storeu_ps(destination, lower_mask(mask), value.a.v);
    _mm512_mask_storeu_ps(destination + Vec::kLanes, upper_mask(mask), value.b.v);
  } else {
    _mm512_mask_storeu_epi16(destination, mask, pack_pair<X, kWhich>(value));
  }
}

RMSNORM_INLINE Vec sum_lanes(const Vec (&v)[Vec::kLanes]) {
  // Adds lanes 8 apart, for i = 0 … 3 and 8 … 11: v[i] goes to the lower half, v[i + 4] to the
  // upper.
  __m512 eight[8];
  for (int i = 0; i < 8; ++i) {
    const __m512 x = v[i + i / 4 * 4].v;
    const __m512 y = v[i + i / 4 * 4 + 4].v;
    eight[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, x, y),
                             _mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(1, 0, 3, 2)));
  }
  // Adds lanes 4 apart: the four 128-bit quarters of the result belong to v[i], v[i + 4], v[i + 8]
  // and v[i + 12].
  __m512 four[4];
  for (int i = 0; i < 4; ++i) {
    const __m512 x = eight[i];
    const __m512 y = eight[i + 4];
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(2, 0, 2, 0)),
                            _mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(3, 1, 3, 1)));
  }
  // Adds lanes 2 apart, then neighbours.
  __m512 two[2];
  for (int i = 0; i < 2; ++i) {
    const __m512 x = four[2 * i];
    const __m512 y = four[2 * i + 1];
    two[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, x, y),
                           _mm512_shuffle_ps(x, y, _MM_SHUFFLE(1, 0, 3, 2)));
  }
  return {_mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], _MM_SHUFFLE(2, 0, 2, 0)),
                        _mm512_shuffle_ps(two[0], two[1], _MM_SHUFFLE(3, 1, 3, 1)))};
}

RMSNORM_INLINE Vec halve_lanes(Vec v, std::int64_t count) {
  if (count <= 8) v = v + Vec{_mm512_shuffle_f32x4(v.v, v.v, _MM_SHUFFLE(1, 0, 3, 2))};
  if (count <= 4) v = v + Vec{_mm512_shuffle_f32x4(v.v, v.v, _MM_SHUFFLE(2, 3, 0, 1))};
  if (count <= 2) v = v + Vec{_mm512_permute_ps(v.v, _MM_SHUFFLE(1, 0, 3, 2))};
  if (count <= 1) v = v + Vec{_mm512_permute_ps(v.v, _MM_SHUFFLE(2, 3, 0, 1))};
  return v;
}

}  // namespace
}  // namespace rmsnorm::cpu
