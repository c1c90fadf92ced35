// From the types a call names to the types a kernel is compiled for. As in every header of simd/
// and kernels/, all is in an unnamed namespace: code compiled for one instruction set must not be
// what the linker takes for another.
#pragma once

#include "../../op/float16.h"
#include "../variant.h"

namespace rmsnorm::cpu {
namespace {

// Registers passed through memory cost more than the arithmetic on them: what handles a Vec or a
// VecPair is never a call.
#define RMSNORM_INLINE [[gnu::always_inline]] inline

template <class T>
struct Tag {
  using Type = T;
};
template <bool kValue>
struct Bool {
  static constexpr bool value = kValue;
};

// function(Index<0>{}) … function(Index<kCount - 1>{}): a loop whose arrays stay in registers,
// since constants alone index them.
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

// What a float about to be rounded to bfloat16 can be. kAny: anything. kQuietNaN: no NaN but those
// of a bfloat16 and of the processor. Their lower 16 bits are 0, so that rounding them as if they
// were numbers keeps them NaN. kNoSubnormals: the same, and no subnormal number, which some
// instructions take for 0. kWatched: those of kQuietNaN, where ExceptionFlags tell
// afterwards whether rounding met a number that it is wrong for.
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

// A reference to any function (arguments): what takes one is compiled once for all.
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
