// Vectors of AArch64's Advanced SIMD, 4 floats each: with tails.h, what simd.h asks for of a
// variant. Included after types.h into a file of its instruction set (variant_avx2.cc).

struct Vec {
  static constexpr int kLanes = 4;
  float32x4_t v;

  RMSNORM_INLINE static Vec zero() { return {vdupq_n_f32(0.0f)}; }
  RMSNORM_INLINE static Vec broadcast(float value) { return {vdupq_n_f32(value)}; }
  RMSNORM_INLINE static Vec load(const float* source) { return {vld1q_f32(source)}; }
  RMSNORM_INLINE void store(float* destination) const { vst1q_f32(destination, v); }
};

struct Pair {
  Vec a;
  Vec b;
};

RMSNORM_INLINE Vec add(Vec x, Vec y) { return {vaddq_f32(x.v, y.v)}; }
RMSNORM_INLINE Vec mul(Vec x, Vec y) { return {vmulq_f32(x.v, y.v)}; }
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

template <bool kOrder>
RMSNORM_INLINE Pair load_floats(const float* source) {
  const Pair natural{Vec::load(source), Vec::load(source + Vec::kLanes)};
  if (!kOrder) return natural;
  return {{vuzp1q_f32(natural.a.v, natural.b.v)}, {vuzp2q_f32(natural.a.v, natural.b.v)}};
}

template <bool kOrder>
RMSNORM_INLINE void store_floats(float* destination, Pair value) {
  if (kOrder) value = {{vzip1q_f32(value.a.v, value.b.v)}, {vzip2q_f32(value.a.v, value.b.v)}};
  value.a.store(destination);
  value.b.store(destination + Vec::kLanes);
}

// The bits of a float with those of its bfloat16 in the upper half; the lower half is rubbish.
template <Floats kWhich>
RMSNORM_INLINE uint32x4_t round_to_bfloat16(Vec x) {
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits(x), 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits(x), vdupq_n_u32(0x7fff)), odd);
  if constexpr (kWhich == Floats::kShort) {
    return rounded;
  } else {
    const uint32x4_t quiet = vorrq_u32(bits(x), vdupq_n_u32(0x00400000));
    return vbslq_u32(vceqq_f32(x.v, x.v), rounded, quiet);
  }
}

RMSNORM_INLINE float32x4_t widen(float16x4_t x) { return vcvt_f32_f16(x); }
RMSNORM_INLINE float16x4_t narrow(Vec x) { return vcvt_f16_f32(x.v); }

template <class X>
RMSNORM_INLINE Pair load_pair(const X* source) {
  if constexpr (__is_same(X, float)) {
    return load_floats<false>(source);
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
RMSNORM_INLINE Pair round_pair(Pair x) {
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
RMSNORM_INLINE void store_pair(X* destination, Pair value) {
  if constexpr (__is_same(X, float)) {
    store_floats<false>(destination, value);
  } else if constexpr (__is_same(X, BFloat16)) {
    const uint32x4_t even = vshrq_n_u32(round_to_bfloat16<kWhich>(value.a), 16);
    const uint32x4_t odd = round_to_bfloat16<kWhich>(value.b);
    const uint32x4_t words = vbslq_u32(vdupq_n_u32(0xffff0000), odd, even);
    vst1q_u16(&destination->bits, vreinterpretq_u16_u32(words));
  } else {
    vst1q_u16(&destination->bits,
              vreinterpretq_u16_f16(vcombine_f16(narrow(value.a), narrow(value.b))));
  }
}

// No intrinsic has streaming stores; the memory systems of these processors detect long writes.
template <class X, Floats kWhich>
RMSNORM_INLINE void stream_pair(X* destination, Pair value) {
  store_pair<X, kWhich>(destination, value);
}

RMSNORM_INLINE void prefetch(const void* address) { __builtin_prefetch(address); }
RMSNORM_INLINE void stream_fence() {}

// The columns [begin, end) of a Pair; -0 in the others.
template <bool kOrder>
RMSNORM_INLINE Pair keep_columns(Pair x, std::int64_t begin, std::int64_t end) {
  constexpr std::uint32_t kLane[] = {0, 1, 2, 3};
  const uint32x4_t lane = vld1q_u32(kLane);
  const uint32x4_t a = kOrder ? vshlq_n_u32(lane, 1) : lane;
  const uint32x4_t b = vaddq_u32(a, vdupq_n_u32(kOrder ? 1 : Vec::kLanes));
  const uint32x4_t first = vdupq_n_u32(static_cast<std::uint32_t>(begin));
  const uint32x4_t behind = vdupq_n_u32(static_cast<std::uint32_t>(end));
  const auto keep = [&](Vec v, uint32x4_t column) {
    const uint32x4_t inside = vandq_u32(vcgeq_u32(column, first), vcltq_u32(column, behind));
    return Vec{vbslq_f32(inside, v.v, vdupq_n_f32(-0.0f))};
  };
  return {keep(x.a, a), keep(x.b, b)};
}

RMSNORM_INLINE Vec sum_lanes(const Vec (&v)[Vec::kLanes]) {
  // Lanes 2 apart, of v[i] below and v[i + 1] above; then neighbours.
  const auto halves = [](Vec x, Vec y) {
    return vaddq_f32(vcombine_f32(vget_low_f32(x.v), vget_low_f32(y.v)),
                     vcombine_f32(vget_high_f32(x.v), vget_high_f32(y.v)));
  };
  return {vpaddq_f32(halves(v[0], v[1]), halves(v[2], v[3]))};
}

RMSNORM_INLINE Vec halve_lanes(Vec v, std::int64_t count) {
  if (count <= 2) v = add(v, {vextq_f32(v.v, v.v, 2)});
  if (count <= 1) v = add(v, {vrev64q_f32(v.v)});
  return v;
}
