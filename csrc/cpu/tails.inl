// What pairs.inl asks for of a variant that has no masked loads and stores, nor a rounding that is
// faster for normal numbers. Included before row_kernels.inl.

template <class X>
static constexpr bool kMasks = false;

template <class X, class W>
struct NormalFloats {
  static constexpr bool kExist = false;
  explicit NormalFloats(const ForwardArgs&) {}
};

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
