// Integer arithmetic.
#include "lanewise.h"

namespace cudasim {
namespace {

__extension__ using Wide128 = __int128;

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// The integer type of twice the width and the same signedness.
template <class T>
struct Doubled;
template <>
struct Doubled<u16> {
  using Type = u32;
};
template <>
struct Doubled<s16> {
  using Type = s32;
};
template <>
struct Doubled<u32> {
  using Type = u64;
};
template <>
struct Doubled<s32> {
  using Type = s64;
};
template <>
struct Doubled<u64> {
  __extension__ using Type = unsigned __int128;
};
template <>
struct Doubled<s64> {
  using Type = Wide128;
};
template <class T>
using DoubledOf = typename Doubled<T>::Type;

// Overflow wraps around. C++ guarantees this only for unsigned types, and 16-bit ones are promoted
// to int, which could overflow.
template <class T>
T wrap_add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
T wrap_sub(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
template <class T>
T wrap_mul(T a, T b) {
  return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
}
template <class T>
T mul_high(T a, T b) {
  using W = DoubledOf<T>;
  if constexpr (sizeof(T) == 2) {
    return static_cast<T>((static_cast<s64>(a) * b) >> 16);
  } else {
    return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (8 * sizeof(T)));
  }
}
template <class T>
auto mul_wide(T a, T b) {
  using W = DoubledOf<T>;
  return static_cast<W>(static_cast<u64>(a) * static_cast<u64>(b));
}
template <class T>
T negate(T a) {
  return wrap_sub(T{0}, a);
}
// Division by zero gives all ones, as on a GPU. The most negative number divided by -1 wraps.
template <class T>
T divide(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return negate(a);
  }
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}

template <class T>
void add_common(OperationTable& table) {
  const std::string type = kTypeName<T>;
  table.add("add." + type, lanewise<T, T, T>([](T a, T b) { return wrap_add(a, b); }));
  table.add("sub." + type, lanewise<T, T, T>([](T a, T b) { return wrap_sub(a, b); }));
  table.add("mul.lo." + type, lanewise<T, T, T>([](T a, T b) { return wrap_mul(a, b); }));
  table.add("mul.hi." + type, lanewise<T, T, T>([](T a, T b) { return mul_high(a, b); }));
  table.add("mad.lo." + type,
            lanewise<T, T, T, T>([](T a, T b, T c) { return wrap_add(wrap_mul(a, b), c); }));
  table.add("mad.hi." + type,
            lanewise<T, T, T, T>([](T a, T b, T c) { return wrap_add(mul_high(a, b), c); }));
  table.add("div." + type, lanewise<T, T, T>([](T a, T b) { return divide(a, b); }));
  table.add("rem." + type, lanewise<T, T, T>([](T a, T b) { return remainder(a, b); }));
  table.add("min." + type, lanewise<T, T, T>([](T a, T b) { return a < b ? a : b; }));
  table.add("max." + type, lanewise<T, T, T>([](T a, T b) { return a > b ? a : b; }));
  if constexpr (std::is_signed_v<T>) {
    table.add("neg." + type, lanewise<T, T>([](T a) { return negate(a); }));
    table.add("abs." + type, lanewise<T, T>([](T a) { return a < 0 ? negate(a) : a; }));
  }
}

template <class T>
void add_wide(OperationTable& table) {
  using W = DoubledOf<T>;
  const std::string type = kTypeName<T>;
  table.add("mul.wide." + type, lanewise<W, T, T>([](T a, T b) { return mul_wide(a, b); }));
  table.add("mad.wide." + type,
            lanewise<W, T, T, W>([](T a, T b, W c) { return wrap_add(mul_wide(a, b), c); }));
  table.add("sad." + std::string(kTypeName<T>), lanewise<T, T, T, T>([](T a, T b, T c) {
              return wrap_add(c, a < b ? wrap_sub(b, a) : wrap_sub(a, b));
            }));
}

s32 saturating(s64 value) {
  constexpr s64 kMost = 0x7fffffff;
  return static_cast<s32>(value > kMost ? kMost : value < -kMost - 1 ? -kMost - 1 : value);
}

}  // namespace

void add_integer_operations(OperationTable& table) {
  for_types<u16, s16, u32, s32, u64, s64>([&]<class T>() { add_common<T>(table); });
  for_types<u16, s16, u32, s32>([&]<class T>() { add_wide<T>(table); });
  table.add("add.sat.s32",
            lanewise<s32, s32, s32>([](s32 a, s32 b) { return saturating(s64{a} + b); }));
  table.add("sub.sat.s32",
            lanewise<s32, s32, s32>([](s32 a, s32 b) { return saturating(s64{a} - b); }));
}

}  // namespace cudasim
