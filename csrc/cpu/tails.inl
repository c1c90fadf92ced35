// What pairs.inl asks for of a variant that has no masked loads and stores, nor a rounding that is
// faster for normal numbers. Included before row_kernels.inl.

template <class X, class W>
struct NormalFloats {
  static constexpr bool kExist = false;
  explicit NormalFloats(const ForwardArgs&) {}
};

// The first `count` < 2 * kLanes elements at `source`, and zeros: a row ends where it ends, and
// nothing behind it is read.
template <class T>
struct Tail {
  alignas(64) T values[2 * Vec::kLanes];

  Tail() : values{} {}
  Tail(const T* source, std::int64_t count) : values{} {
    for (std::int64_t i = 0; i < count; ++i) values[i] = source[i];
  }
};

template <class X, class T>
RMSNORM_INLINE Pair load_first(const T* source, std::int64_t count) {
  const Tail<T> tail(source, count);
  if constexpr (__is_same(X, T)) {
    return load_pair<X>(tail.values);
  } else {
    return load_floats<kInterleaved<X>>(tail.values);
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE void store_part(X* destination, std::int64_t begin, std::int64_t end, Pair value) {
  Tail<X> pair;
  store_pair<X, kWhich>(pair.values, value);
  for (std::int64_t i = begin; i < end; ++i) destination[i] = pair.values[i];
}
