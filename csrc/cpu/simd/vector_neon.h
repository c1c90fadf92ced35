// Vectors of AArch64's Advanced SIMD, 4 floats each: what simd.h needs from an instruction set.
#pragma once

#include <arm_neon.h>

#include "types.h"

namespace rmsnorm::cpu {
namespace {

struct Vec {
  static constexpr int kLanes = 4;
  float32x4_t v;

  RMSNORM_INLINE static Vec zero() { return {vdupq_n_f32(0.0f)}; }
  RMSNORM_INLINE static Vec broadcast(float value) { return {vdupq_n_f32(value)}; }
  RMSNORM_INLINE static Vec load(const float* source) { return {vld1q_f32(source)}; }
  RMSNORM_INLINE void store(float* destination) const { vst1q_f32(destination, v); }
};

using VecPair = PairOf<Vec>;

static constexpr int kRegisters = 32;

RMSNORM_INLINE Vec operator+(Vec x, Vec y) { return {vaddq_f32(x.v, y.v)}; }
RMSNORM_INLINE Vec operator*(Vec x, Vec y) { return {vmulq_f32(x.v, y.v)}; }
RMSNORM_INLINE Vec fma(Vec x, Vec y, Vec z) { return {vfmaq_f32(z.v, x.v, y.v)}; }
RMSNORM_INLINE Vec divide(Vec x, Vec y) { return {vdivq_f32(x.v, y.v)}; }
RMSNORM_INLINE Vec sqrt(Vec x) { return {vsqrtq_f32(x.v)}; }

RMSNORM_INLINE bool all_within(Vec x, float low, float high) {
  const uint32x4_t from = vcgeq_f32(x.v, vdupq_n_f32(low));
  return vminvq_u32(vandq_u32(from, vcleq_f32(x.v, vdupq_n_f32(high)))) != 0;
}

RMSNORM_INLINE uint32x4_t bits(Vec x) { return vreinterpretq_u32_f32(x.v); }
RMSNORM_INLINE Vec floats(uint32x4_t x) { return {vreinterpretq_f32_u32(x)}; }

template <class X>
static constexpr bool kInterleaved = __is_same(X, BFloat16);

template <class X>
static constexpr Stores kStreaming = Stores::kStreaming;

// [0 … 3], [4 … 7]  ->  [0 2 4 6], [1 3 5 7]; and the inverse.
RMSNORM_INLINE VecPair interleave(VecPair x) {
  return {{vuzp1q_f32(x.a.v, x.b.v)}, {vuzp2q_f32(x.a.v, x.b.v)}};
}
RMSNORM_INLINE VecPair deinterleave(VecPair x) {
  return {{vzip1q_f32(x.a.v, x.b.v)}, {vzip2q_f32(x.a.v, x.b.v)}};
}

// The upper half of each lane is x rounded to bfloat16; the lower half is undefined.
template <Floats kWhich>
RMSNORM_INLINE uint32x4_t round_to_bfloat16(Vec x) {
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits(x), 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits(x), vdupq_n_u32(0x7fff)), odd);
  if constexpr (kWhich == Floats::kQuietNaN) {
    return rounded;
  } else {
    const uint32x4_t quiet = vorrq_u32(bits(x), vdupq_n_u32(0x00400000));
    return vbslq_u32(vceqq_f32(x.v, x.v), rounded, quiet);
  }
}

RMSNORM_INLINE float32x4_t widen(float16x4_t x) { return vcvt_f32_f16(x); }
RMSNORM_INLINE float16x4_t narrow(Vec x) { return vcvt_f16_f32(x.v); }

template <class X>
RMSNORM_INLINE VecPair load_pair(const X* source) {
  if constexpr (__is_same(X, float)) {
    return {Vec::load(source), Vec::load(source + Vec::kLanes)};
  } else {
    const uint16x8_t packed = vld1q_u16(&source->bits);
    if constexpr (__is_same(X, BFloat16)) {
      const uint32x4_t words = vreinterpretq_u32_u16(packed);
      return {floats(vshlq_n_u32(words, 16)), floats(vandq_u32(words, vdupq_n_u32(0xffff0000)))};
    } else {
      return {{widen(vreinterpret_f16_u16(vget_low_u16(packed)))},
              {widen(vreinterpret_f16_u16(vget_high_u16(packed)))}};
    }
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE VecPair round_pair(VecPair x) {
  if constexpr (__is_same(X, float)) {
    return x;
  } else if constexpr (__is_same(X, BFloat16)) {
    const uint32x4_t upper = vdupq_n_u32(0xffff0000);
    return {floats(vandq_u32(round_to_bfloat16<kWhich>(x.a), upper)),
            floats(vandq_u32(round_to_bfloat16<kWhich>(x.b), upper))};
  } else {
    return {{widen(narrow(x.a))}, {widen(narrow(x.b))}};
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE uint32x4_t pack_pair(VecPair x) {
  if constexpr (__is_same(X, BFloat16)) {
    const uint32x4_t even = vshrq_n_u32(round_to_bfloat16<kWhich>(x.a), 16);
    return vbslq_u32(vdupq_n_u32(0xffff0000), round_to_bfloat16<kWhich>(x.b), even);
  } else {
    return vreinterpretq_u32_f16(vcombine_f16(narrow(x.a), narrow(x.b)));
  }
}

RMSNORM_INLINE void store_bits(void* destination, uint32x4_t value) {
  vst1q_u8(static_cast<std::uint8_t*>(destination), vreinterpretq_u8_u32(value));
}
// There is no intrinsic for streaming stores. The memory systems of these processors detect long
// writes by themselves.
RMSNORM_INLINE void stream_bits(void* destination, uint32x4_t value) {
  store_bits(destination, value);
}

// Integers; NaN becomes 0.
template <bool kBounded>
RMSNORM_INLINE int32x4_t round_to_int8(Vec x) {
  return vcvtnq_s32_f32(x.v);
}
RMSNORM_INLINE void store_int8(void* destination, int32x4_t a, int32x4_t b) {
  const int16x8_t words = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
  vst1_s8(static_cast<std::int8_t*>(destination), vqmovn_s16(words));
}

RMSNORM_INLINE void prefetch(const void* address) { __builtin_prefetch(address); }
RMSNORM_INLINE void stream_fence() {}

RMSNORM_INLINE Vec sum_lanes(const Vec (&v)[Vec::kLanes]) {
  // Adds lanes 2 apart: v[i] goes to the lower half, v[i + 1] to the upper. Then adds neighbours.
  const auto halves = [](Vec x, Vec y) {
    return vaddq_f32(vcombine_f32(vget_low_f32(x.v), vget_low_f32(y.v)),
                     vcombine_f32(vget_high_f32(x.v), vget_high_f32(y.v)));
  };
  return {vpaddq_f32(halves(v[0], v[1]), halves(v[2], v[3]))};
}

RMSNORM_INLINE Vec halve_lanes(Vec v, std::int64_t count) {
  if (count <= 2) v = v + Vec{vextq_f32(v.v, v.v, 2)};
  if (count <= 1) v = v + Vec{vrev64q_f32(v.v)};
  return v;
}

}  // namespace
}  // namespace rmsnorm::cpu
