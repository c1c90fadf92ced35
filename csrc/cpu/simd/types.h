// From the dtypes of a call to the types that a kernel is compiled for. As in every header of simd/
// and kernels/, everything is in an unnamed namespace. Otherwise the linker could use the code of
// one instruction set in a variant for another.
#pragma once

#include "../../op/float16.h"
#include "../variant.h"

namespace rmsnorm::cpu {
namespace {

// Passing registers through memory costs more than the arithmetic on them. Therefore functions that
// handle a Vec or a VecPair are always inlined.
#define RMSNORM_INLINE [[gnu::always_inline]] inline

template <class T>
struct Tag {
  using Type = T;
};
template <bool kValue>
struct Bool {
  static constexpr bool value = kValue;
};

// Calls function(Index<kFirst>{}) … function(Index<kCount - 1>{}). This is a loop whose arrays stay
// in registers, because only constants index them.
template <std::int64_t kIndex>
struct Index {
  static constexpr std::int64_t value = kIndex;
};
template <std::int64_t kCount, std::int64_t kFirst = 0, class Function>
RMSNORM_INLINE void unrolled(const Function& function) {
  if constexpr (kFirst < kCount) {
    function(Index<kFirst>{});
    unrolled<kCount, kFirst + 1>(function);
  }
}

// 2 * kLanes consecutive columns of a row.
template <class Vec>
struct PairOf {
  Vec a;
  Vec b;
};

// The values that a float may have before it is rounded to bfloat16.
//   kAny           anything
//   kQuietNaN      no NaN except those that come from a bfloat16 or that the processor makes. Their
//                  lower 16 bits are 0, so rounding them as if they were numbers keeps them NaN
//   kNoSubnormals  as kQuietNaN, and no subnormal number, because some instructions treat it as 0
//   kWatched       as kQuietNaN. The rounding may be wrong for some numbers; ExceptionFlags
//                  (simd.h) tell afterwards whether it met one
enum class Floats { kAny, kQuietNaN, kNoSubnormals, kWatched };

template <class Function>
void with_dtype(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kFloat32:
      return function(Tag<float>{});
    case DType::kFloat16:
      return function(Tag<Float16>{});
    case DType::kBFloat16:
      return function(Tag<BFloat16>{});
    default:
      return;
  }
}

// Calls function(Tag<X>, Bool<llama>); llama: xhat and g are rounded, as in Llama's order.
template <class Function>
void with_order(DType dtype, CastOrder order, const Function& function) {
  with_dtype(dtype, [&](auto x) {
    if constexpr (!__is_same(typename decltype(x)::Type, float)) {
      if (order == CastOrder::kLlama) return function(x, Bool<true>{});
    }
    function(x, Bool<false>{});
  });
}

// A reference to any callable. Code that takes one is compiled once for all callables.
template <class Signature>
class FunctionRef;
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class Function>
  FunctionRef(const Function& function)
      : object_(&function), call_([](const void* object, Arguments... arguments) -> Result {
          return (*static_cast<const Function*>(object))(arguments...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(object_, arguments...); }

 private:
  const void* object_;
  Result (*call_)(const void*, Arguments...);
};

template <class T>
RMSNORM_INLINE const T* row_of(const ConstRows& rows, std::int64_t row) {
  return static_cast<const T*>(rows.data) + row_offset(rows, row);
}
template <class T>
RMSNORM_INLINE T* row_of(const Rows& rows, std::int64_t row) {
  return static_cast<T*>(rows.data) + row_offset(rows, row);
}

}  // namespace
}  // namespace rmsnorm::cpu
