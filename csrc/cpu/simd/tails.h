// What simd.h asks for of a variant that has no masked loads and stores, nor a rounding that is
// faster for normal numbers. Included before row_kernels.h.

template <class X>
static constexpr bool kMasks = false;

// 2 * kLanes elements, zeros where no others are put.
template <class T>
struct Part {
  alignas(64) T values[2 * Vec::kLanes] = {};
};

template <class X, class T>
RMSNORM_INLINE Pair load_part(const T* source, std::int64_t begin, std::int64_t end) {
  Part<T> part;
  for (std::int64_t i = begin; i < end; ++i) part.values[i] = source[i];
  if constexpr (__is_same(X, T)) {
    return load_pair<X>(part.values);
  } else {
    return load_floats<kInterleaved<X>>(part.values);
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE void store_part(X* destination, std::int64_t begin, std::int64_t end, Pair value) {
  Part<X> part;
  store_pair<X, kWhich>(part.values, value);
  for (std::int64_t i = begin; i < end; ++i) destination[i] = part.values[i];
}

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
template <class T>
RMSNORM_INLINE float smallest_magnitude(const T*, std::int64_t) {
  return 0.0f;
}
RMSNORM_INLINE bool is_normal(float, Vec, float) { return false; }
