// Rows of bfloat16 in which no float that forward rounds is subnormal, so that an instruction which
// takes those for 0 can round them. Included by a variant that has one, before row_kernels.inl.

// The smallest magnitude but 0 among bfloat16: kept as the greatest of -2 * its bits modulo 2^16,
// which loses the sign and puts 0 last.
struct SmallestMagnitude {
  __m512i greatest = _mm512_setzero_si512();

  RMSNORM_INLINE void add(__m512i packed) {
    greatest = _mm512_max_epu16(greatest, _mm512_mullo_epi16(packed, _mm512_set1_epi16(-2)));
  }
  RMSNORM_INLINE void add_row(const BFloat16* row, std::int64_t count) {
    std::int64_t j = 0;
    for (; j + 32 <= count; j += 32) add(_mm512_loadu_si512(row + j));
    if (j < count) add(_mm512_maskz_loadu_epi16(bit_range(0, count - j), row + j));
  }
  // Infinity if there was nothing but 0.
  RMSNORM_INLINE float value() const {
    const __m256i half =
        _mm256_max_epu16(_mm512_castsi512_si256(greatest), _mm512_extracti64x4_epi64(greatest, 1));
    const __m128i quarter =
        _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128i inverted = _mm_minpos_epu16(_mm_xor_si128(quarter, _mm_set1_epi16(-1)));
    const auto twice = (static_cast<std::uint32_t>(_mm_cvtsi128_si32(inverted)) + 1) & 0xffff;
    const std::uint32_t magnitude = twice == 0 ? 0x7f800000 : twice << 15;
    return __builtin_bit_cast(float, magnitude);
  }
};

template <class X, class W>
struct NormalFloats {
  static constexpr bool kExist = __is_same(X, BFloat16) && !__is_same(W, float);

  ConstRows x;
  std::int64_t hidden_size;
  float weight;  // the smallest magnitude but 0; 0 where that would take too long to find out

  explicit NormalFloats(const ForwardArgs& args)
      : x(args.x), hidden_size(args.shape.hidden_size), weight(0.0f) {
    if (!(cpu_features() & kFeatureAvx512Bf16) || args.options.weight_offset != 0.0) return;
    weight = 1.0f;
    if constexpr (!__is_same(W, NoWeight)) {
      SmallestMagnitude smallest;
      smallest.add_row(static_cast<const BFloat16*>(args.weight.data), hidden_size);
      weight = smallest.value();
    }
  }

  // Whether all of `count` rows, whose rstd are the lanes of one Vec, are such rows. Roundings keep
  // the order of magnitudes: those of the smallest x and w tell of all. T(xhat) is more than half
  // of xhat.
  RMSNORM_INLINE bool has(std::int64_t first, std::int64_t count, Vec rstd) const {
    if (weight == 0.0f) return false;
    SmallestMagnitude smallest;
    for (std::int64_t r = 0; r < count; ++r) {
      smallest.add_row(row_of<BFloat16>(x, first + r), hidden_size);
    }
    const Vec xhat = mul(Vec::broadcast(smallest.value()), rstd);
    const Vec y = mul(xhat, Vec::broadcast(weight));
    const __mmask16 normal = _mm512_cmp_ps_mask(xhat.v, _mm512_set1_ps(0x1p-126f), _CMP_GE_OQ) &
                             _mm512_cmp_ps_mask(y.v, _mm512_set1_ps(0x1p-125f), _CMP_GE_OQ);
    return normal == 0xffff;
  }
};
