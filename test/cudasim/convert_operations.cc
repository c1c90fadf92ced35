// cvt between integers, floats and the 16-bit formats, with every rounding mode. Hundreds of
// functions, compiled with -O1; common_conversions.cc has fast versions of the common ones.
#include <cmath>

#include "lanewise.h"

namespace cudasim {
namespace {

__extension__ using Wide = __int128;

enum class Rounding { kNearest, kZero, kDown, kUp };

template <Rounding R>
inline constexpr const char* kRoundingName = R == Rounding::kNearest ? "n"
                                             : R == Rounding::kZero  ? "z"
                                             : R == Rounding::kDown  ? "m"
                                                                     : "p";

template <class T>
inline constexpr bool is_integer = std::is_integral_v<T>;

// The exact value as a double.
double exact(double value) { return value; }
double exact(float value) { return value; }
double exact(Half value) { return to_float(value); }
double exact(BFloat value) { return to_float(value); }

template <class T>
using BitsOf =
    std::conditional_t<sizeof(T) == 2, u16, std::conditional_t<sizeof(T) == 4, u32, u64>>;

template <class T>
T next(T value, bool away_from_zero) {
  using U = BitsOf<T>;
  return std::bit_cast<T>(static_cast<U>(std::bit_cast<U>(value) + (away_from_zero ? 1 : -1)));
}

// The value rounded as R says: `nearest` or its neighbour. `nearest` is the value rounded to
// nearest; `order` is the sign of nearest - value.
template <Rounding R, class T>
T directed(T nearest, int order) {
  if constexpr (R == Rounding::kNearest) return nearest;
  const auto bits = std::bit_cast<BitsOf<T>>(nearest);
  constexpr auto kSign = static_cast<BitsOf<T>>(BitsOf<T>{1} << (8 * sizeof(T) - 1));
  const bool negative = (bits & kSign) != 0;
  const bool zero = (bits & ~kSign) == 0;
  const bool down = R == Rounding::kDown || (R == Rounding::kZero && !negative);
  if (order > 0 && down) {
    return zero ? std::bit_cast<T>(static_cast<BitsOf<T>>(kSign | 1)) : next(nearest, negative);
  }
  if (order < 0 && !down) {
    return zero ? std::bit_cast<T>(BitsOf<T>{1}) : next(nearest, !negative);
  }
  return nearest;
}

template <Rounding R, class D>
D float_to_float(double value) {
  const D nearest = narrow_double<D>(value);
  const double back = exact(nearest);
  if (R == Rounding::kNearest || !(std::isfinite(value))) return nearest;
  return directed<R>(nearest, back > value ? 1 : back < value ? -1 : 0);
}

template <Rounding R>
double integral(double value) {
  if constexpr (R == Rounding::kNearest) return std::nearbyint(value);
  if constexpr (R == Rounding::kZero) return std::trunc(value);
  if constexpr (R == Rounding::kDown) return std::floor(value);
  return std::ceil(value);
}

// Clamps to the range of D. NaN becomes 0, or only the sign bit if source or result has 64 bits.
template <Rounding R, class D, class S>
D float_to_integer(S source) {
  const double value = exact(source);
  if (value != value) {
    constexpr bool kZero = sizeof(S) < 8 && sizeof(D) < 8;
    return kZero ? D{0} : static_cast<D>(u64{1} << (8 * sizeof(D) - 1));
  }
  const double whole = integral<R>(value);
  constexpr double kLimit = static_cast<double>(std::numeric_limits<D>::max()) + 1.0;
  if (whole <= static_cast<double>(std::numeric_limits<D>::min())) {
    return std::numeric_limits<D>::min();
  }
  // 2^63 - 1 and 2^64 - 1 are not doubles: the cast rounds them up to the first value out of range.
  constexpr double kEnd =
      sizeof(D) == 8 ? static_cast<double>(std::numeric_limits<D>::max()) : kLimit;
  return whole >= kEnd ? std::numeric_limits<D>::max() : static_cast<D>(whole);
}

template <Rounding R, class D, class S>
D integer_to_float(S value) {
  if constexpr (sizeof(D) >= 4) {
    const D nearest = static_cast<D>(value);
    const Wide back = static_cast<Wide>(nearest);
    return directed<R>(nearest, back > value ? 1 : back < value ? -1 : 0);
  } else {  // round to odd in float64, so that both roundings together round once
    auto wide = static_cast<double>(value);
    const Wide back = static_cast<Wide>(wide);
    if (back != value && (std::bit_cast<u64>(wide) & 1) == 0) {
      wide = next(wide, (back < value) == (value > 0));
    }
    return float_to_float<R, D>(wide);
  }
}

template <class D, class S>
D clamp_integer(S value) {
  const Wide wide = value;
  constexpr Wide kLeast = std::numeric_limits<D>::min(), kMost = std::numeric_limits<D>::max();
  return static_cast<D>(wide < kLeast ? kLeast : wide > kMost ? kMost : wide);
}

Operation relaxed(Operation operation, bool extends_sign) {
  operation.relaxed = true;
  operation.extends_sign = extends_sign;
  return operation;
}

template <class D, class S>
std::string types() {
  return std::string(".") + kTypeName<D> + "." + kTypeName<S>;
}

template <class D, class S>
void add_integer_pair(OperationTable& table) {
  constexpr bool kSigned = std::is_signed_v<D>;
  table.add("cvt" + types<D, S>(),
            relaxed(lanewise<D, S>([](S a) { return static_cast<D>(a); }), kSigned));
  table.add("cvt.sat" + types<D, S>(),
            relaxed(lanewise<D, S>([](S a) { return clamp_integer<D>(a); }), kSigned));
}

template <Rounding R, class F, class I>
void add_mixed(OperationTable& table) {
  const std::string mode = kRoundingName<R>;
  constexpr bool kSigned = std::is_signed_v<I>;
  table.add("cvt.r" + mode + types<F, I>(),
            relaxed(lanewise<F, I>([](I a) { return integer_to_float<R, F>(a); }), false));
  const Operation back =
      relaxed(lanewise<I, F>([](F a) { return float_to_integer<R, I>(a); }), kSigned);
  table.add("cvt.r" + mode + "i" + types<I, F>(), back);
  table.add("cvt.r" + mode + "i.sat" + types<I, F>(), back);  // clamps even without .sat
  if constexpr (std::is_same_v<F, float>) {
    table.add(
        "cvt.r" + mode + "i.ftz" + types<I, F>(),
        relaxed(lanewise<I, F>([](F a) { return float_to_integer<R, I>(flushed(a)); }), kSigned));
  }
}

// Conversions to a narrower float format, and to an integral value within a format.
template <Rounding R>
void add_rounded(OperationTable& table) {
  const std::string mode = std::string("cvt.r") + kRoundingName<R>;
  const auto add = [&]<class D, class S>() {
    table.add(mode + types<D, S>(),
              lanewise<D, S>([](S a) { return float_to_float<R, D>(exact(a)); }));
  };
  add.template operator()<float, double>();
  add.template operator()<Half, double>();
  add.template operator()<Half, float>();
  add.template operator()<BFloat, double>();
  add.template operator()<BFloat, float>();
  const auto add_pair = [&]<class D>() {  // the first operand is the upper half
    table.add(mode + "." + kTypeName<Pair<D>> + ".f32",
              lanewise<Pair<D>, float, float>([](float high, float low) {
                return Pair<D>{float_to_float<R, D>(exact(low)), float_to_float<R, D>(exact(high))};
              }));
  };
  add_pair.template operator()<Half>();
  add_pair.template operator()<BFloat>();

  table.add(mode + "i.f32.f32", lanewise<float, float>([](float a) {
              return canonical(static_cast<float>(integral<R>(a)));
            }));
  table.add(mode + "i.ftz.f32.f32", lanewise<float, float>([](float a) {
              return canonical(static_cast<float>(integral<R>(flushed(a))));
            }));
  table.add(mode + "i.f64.f64", lanewise<double, double>([](double a) { return integral<R>(a); }));
  table.add(mode + "i.f16.f16", lanewise<Half, Half>([](Half a) {
              return narrow<Half>(static_cast<float>(integral<R>(exact(a))));
            }));
  table.add(mode + ".ftz.f32.f64", lanewise<float, double>([](double a) {
              return flushed(canonical(float_to_float<R, float>(a)));
            }));
}

void add_exact(OperationTable& table) {
  table.add("cvt.f64.f32", lanewise<double, float>([](float a) { return exact(a); }));
  table.add("cvt.ftz.f64.f32", lanewise<double, float>([](float a) { return exact(flushed(a)); }));
  for_types<Half, BFloat>([&]<class S>() {
    table.add("cvt" + types<float, S>(),
              lanewise<float, S>([](S a) { return canonical(to_float(a)); }));
    table.add("cvt" + types<double, S>(), lanewise<double, S>([](S a) { return exact(a); }));
    table.add("cvt.ftz" + types<float, S>(),
              lanewise<float, S>([](S a) { return flushed(canonical(to_float(a))); }));
  });
  table.add("cvt.f32.f32", lanewise<float, float>([](float a) { return canonical(a); }));
  table.add("cvt.ftz.f32.f32",
            lanewise<float, float>([](float a) { return flushed(canonical(a)); }));
  table.add("cvt.sat.f32.f32", lanewise<float, float>([](float a) { return saturated(a); }));
  table.add("cvt.ftz.sat.f32.f32",
            lanewise<float, float>([](float a) { return saturated(flushed(a)); }));
  table.add("cvt.f64.f64", lanewise<double, double>([](double a) { return a; }));
}

// Conversions to two 8-bit floats at once: the first operand goes to the upper byte.
template <int kFraction, u8 kLargest>
void add_float8(OperationTable& table, const std::string& type) {
  table.add("cvt.rn.satfinite." + type + ".f32",
            lanewise<u16, float, float>([](float high, float low) {
              return static_cast<u16>(narrow_satfinite<kFraction, kLargest>(high) << 8 |
                                      narrow_satfinite<kFraction, kLargest>(low));
            }));
}

template <Rounding R>
void add_mode(OperationTable& table) {
  for_types<u8, s8, u16, s16, u32, s32, u64, s64>([&]<class I>() {
    for_types<float, double, Half, BFloat>([&]<class F>() { add_mixed<R, F, I>(table); });
  });
  add_rounded<R>(table);
}

}  // namespace

void add_convert_operations(OperationTable& table) {
  for_types<u8, s8, u16, s16, u32, s32, u64, s64>([&]<class D>() {
    for_types<u8, s8, u16, s16, u32, s32, u64, s64>(
        [&]<class S>() { add_integer_pair<D, S>(table); });
  });
  add_mode<Rounding::kNearest>(table);
  add_mode<Rounding::kZero>(table);
  add_mode<Rounding::kDown>(table);
  add_mode<Rounding::kUp>(table);
  add_exact(table);
  add_float8<3, 0x7e>(table, "e4m3x2");
  add_float8<2, 0x7b>(table, "e5m2x2");
}

}  // namespace cudasim
