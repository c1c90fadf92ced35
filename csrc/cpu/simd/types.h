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

// function(Tag of the tensors, Bool of "rounds xhat and g, as Llama does").
template <class Function>
void with_order(DType dtype, CastOrder order, const Function& function) {
  with_dtype(dtype, [&](auto x) {
    if constexpr (!__is_same(typename decltype(x)::Type, float)) {
      if (order == CastOrder::kLlama) return function(x, Bool<true>{});
    }
    function(x, Bool<false>{});
  });
}

// A reference to any function (begin, arguments): what takes one is compiled once for all.
template <class Signature>
class FunctionRef;
template <class... Arguments>
class FunctionRef<void(Arguments...)> {
 public:
  template <class Function>
  FunctionRef(const Function& function)
      : object_(&function), call_([](const void* object, Arguments... arguments) {
          (*static_cast<const Function*>(object))(arguments...);
        }) {}
  void operator()(Arguments... arguments) const { call_(object_, arguments...); }

 private:
  const void* object_;
  void (*call_)(const void*, Arguments...);
};

template <class T>
RMSNORM_INLINE const T* row_of(const ConstRows& rows, std::int64_t row) {
  return static_cast<const T*>(rows.data) + row_offset(rows, row);
}
template <class T>
RMSNORM_INLINE T* row_of(const Rows& rows, std::int64_t row) {
  return static_cast<T*>(rows.data) + row_offset(rows, row);
}
