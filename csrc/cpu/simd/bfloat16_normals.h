// Which rows of bfloat16 hold no number so small that forward would round a subnormal one, which
// AVX512_BF16's instruction takes for 0. Included by a variant that has it, before row_kernels.h.

// The smallest magnitude but 0 among bfloat16: kept as the greatest of -2 * its bits modulo 2^16,
// which loses the sign and puts 0 last. Infinity if there is nothing but 0.
[[gnu::noinline]] float smallest_magnitude(const BFloat16* row, std::int64_t count) {
  __m512i greatest = _mm512_setzero_si512();
  for (std::int64_t j = 0; j < count; j += 32) {
    const std::int64_t rest = count - j;
    const __m512i packed = rest >= 32 ? _mm512_loadu_si512(row + j)
                                      : _mm512_maskz_loadu_epi16(bit_range(0, rest), row + j);
    greatest = _mm512_max_epu16(greatest, _mm512_mullo_epi16(packed, _mm512_set1_epi16(-2)));
  }
  const __m256i half =
      _mm256_max_epu16(_mm512_castsi512_si256(greatest), _mm512_extracti64x4_epi64(greatest, 1));
  const __m128i quarter =
      _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i inverted = _mm_minpos_epu16(_mm_xor_si128(quarter, _mm_set1_epi16(-1)));
  const auto twice = (static_cast<std::uint32_t>(_mm_cvtsi128_si32(inverted)) + 1) & 0xffff;
  const std::uint32_t magnitude = twice == 0 ? 0x7f800000 : twice << 15;
  return __builtin_bit_cast(float, magnitude);
}

// The same of floats: the least of 2 * their bits - 1, in which 0 is the greatest.
[[gnu::noinline]] float smallest_magnitude(const float* values, std::int64_t count) {
  const __m512i ones = _mm512_set1_epi32(-1);
  __m512i least = ones;
  for (std::int64_t j = 0; j < count; j += 16) {
    const __mmask16 mask = lower_mask(bit_range(0, count - j < 16 ? count - j : 16));
    const __m512i bits = _mm512_maskz_loadu_epi32(mask, values + j);
    least = _mm512_min_epu32(least, _mm512_add_epi32(_mm512_add_epi32(bits, bits), ones));
  }
  const std::uint32_t twice = _mm512_reduce_min_epu32(least) + 1;
  return __builtin_bit_cast(float, twice == 0 ? 0x7f800000 : twice >> 1);
}

RMSNORM_INLINE float smallest_magnitude(const Float16*, std::int64_t) { return 0.0f; }

// Loads x for the fold, and notes whether there is a number below 2^-63, or a 0: none in most rows.
template <class X>
struct Magnitudes {
  static constexpr bool kMatter = false;
  RMSNORM_INLINE Pair at(const X* source) { return load_pair<X>(source); }
  RMSNORM_INLINE Pair part(const X* source, std::int64_t begin, std::int64_t end) {
    return load_part<X>(source, begin, end);
  }
  RMSNORM_INLINE float smallest(const ConstRows&, std::int64_t, std::int64_t, std::int64_t) const {
    return 0.0f;
  }
};
template <>
struct Magnitudes<BFloat16> {
  static constexpr bool kMatter = true;
  __mmask32 small = 0;

  RMSNORM_INLINE Pair at(const BFloat16* source) {
    const __m512i packed = _mm512_loadu_si512(source);
    small |= are_small(packed);
    return unpack_bfloat16(packed);
  }
  RMSNORM_INLINE Pair part(const BFloat16* source, std::int64_t begin, std::int64_t end) {
    const __mmask32 mask = bit_range(begin, end);
    const __m512i packed = _mm512_maskz_loadu_epi16(mask, source);
    small |= are_small(packed) & mask;
    return unpack_bfloat16(packed);
  }
  RMSNORM_INLINE float smallest(const ConstRows& rows, std::int64_t first, std::int64_t count,
                                std::int64_t hidden_size) const {
    if (small == 0) return 0x1p-63f;
    float least = __builtin_inff();
    for (std::int64_t r = 0; r < count; ++r) {
      const float row = smallest_magnitude(row_of<BFloat16>(rows, first + r), hidden_size);
      if (row < least) least = row;
    }
    return least;
  }

 private:
  RMSNORM_INLINE static __mmask32 are_small(__m512i packed) {
    return _mm512_testn_epi16_mask(packed, _mm512_set1_epi16(0x6000));
  }
};

// Roundings keep the order of magnitudes: those of the smallest x and w tell of all. T(xhat) is
// more than half of xhat.
RMSNORM_INLINE bool is_normal(float x, Vec rstd, float w) {
  const Vec xhat = mul(Vec::broadcast(x), rstd);
  const Vec y = mul(xhat, Vec::broadcast(w));
  const __mmask16 normal = _mm512_cmp_ps_mask(xhat.v, _mm512_set1_ps(0x1p-126f), _CMP_GE_OQ) &
                           _mm512_cmp_ps_mask(y.v, _mm512_set1_ps(0x1p-125f), _CMP_GE_OQ);
  return normal == 0xffff && (cpu_features() & kFeatureAvx512Bf16);
}
