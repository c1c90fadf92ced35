// From the types a call names to the types a kernel is compiled for: included into each variant's
// unnamed namespace, where every template stays private to its instruction set.

// Registers passed through memory cost more than the arithmetic on them: what handles a Vec or a
// Pair is never a call.
#define RMSNORM_INLINE [[gnu::always_inline]] inline

template <class T>
struct Tag {
  using Type = T;
};
template <bool kValue>
struct Bool {
  static constexpr bool value = kValue;
};
struct NoWeight {};

// What a float about to be rounded to bfloat16 can be. kAny: anything. kShort: no NaNs but those of
// a bfloat16 and of the processor, whose lower 16 bits are 0, so that rounding them as if numbers
// keeps them NaN. kNormal: the same, and no subnormal number, which some instructions take for 0.
enum class Floats { kAny, kShort, kNormal };

template <class Function>
void with_dtype(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kFloat32:
      return function(Tag<float>{});
    case DType::kFloat16:
      return function(Tag<Float16>{});
    case DType::kBFloat16:
      return function(Tag<BFloat16>{});
    case DType::kFloat64:
      return;
  }
}

// function(Tag of the tensors, Tag of the weight, Bool of "rounds xhat and g, as Llama does").
template <class Function>
void with_types(DType dtype, const Weight& weight, CastOrder order, const Function& function) {
  with_dtype(dtype, [&](auto x) {
    using X = typename decltype(x)::Type;
    const auto with_weight = [&](auto w) {
      if constexpr (!__is_same(X, float)) {
        if (order == CastOrder::kLlama) return function(x, w, Bool<true>{});
      }
      function(x, w, Bool<false>{});
    };
    if (weight.data == nullptr) return with_weight(Tag<NoWeight>{});
    if (weight.dtype == dtype) return with_weight(x);
    with_weight(Tag<float>{});
  });
}

template <class T>
RMSNORM_INLINE const T* row_of(const ConstRows& rows, std::int64_t row) {
  return static_cast<const T*>(rows.data) + row_offset(rows, row);
}
template <class T>
RMSNORM_INLINE T* row_of(const Rows& rows, std::int64_t row) {
  return static_cast<T*>(rows.data) + row_offset(rows, row);
}
