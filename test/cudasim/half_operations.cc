// Arithmetic on f16 and bf16, single and in pairs. A sum or product of two 16-bit numbers that is
// rounded to float32 and then to 16 bits has the bits of one rounding: 24 >= 2 * 11 + 2.
#include <cmath>

#include "lanewise.h"

namespace cudasim {
namespace {

template <class T>
bool is_nan(T value) {
  return to_float(value) != to_float(value);
}

template <class T>
T sum(T a, T b) {
  return narrow<T>(to_float(a) + to_float(b));
}
template <class T>
T difference(T a, T b) {
  return narrow<T>(to_float(a) - to_float(b));
}
template <class T>
T product(T a, T b) {
  return narrow<T>(to_float(a) * to_float(b));
}

template <class T, bool Most>
T extreme(T a, T b) {
  const float x = to_float(a), y = to_float(b);
  if (is_nan(a)) return is_nan(b) ? T{kNan16} : b;
  if (is_nan(b)) return a;
  if (x == y) return (std::signbit(x) != 0) == Most ? b : a;
  return (x < y) == Most ? b : a;
}
template <class T, bool Most>
T extreme_nan(T a, T b) {
  return is_nan(a) || is_nan(b) ? T{kNan16} : extreme<T, Most>(a, b);
}

// Adds a function of one format for single values and for pairs.
template <class T, class F, class... S>
void add_both(OperationTable& table, const std::string& name, const std::string& type, F) {
  table.add(name + "." + type, lanewise<T, S...>([](S... in) { return F{}(in...); }));
  table.add(name + "." + type + "x2", lanewise<Pair<T>, Pair<S>...>([](Pair<S>... in) {
              return Pair<T>{F{}(in.low...), F{}(in.high...)};
            }));
}

template <class T>
void add_format(OperationTable& table) {
  const std::string type = kTypeName<T>;
  const auto add2 = [&](const std::string& name, auto f) {
    add_both<T, decltype(f), T, T>(table, name, type, f);
  };
  for (const char* rounding : {"", ".rn"}) {
    add2(std::string("add") + rounding, [](T a, T b) { return sum(a, b); });
    add2(std::string("sub") + rounding, [](T a, T b) { return difference(a, b); });
    add2(std::string("mul") + rounding, [](T a, T b) { return product(a, b); });
  }
  add2("min", [](T a, T b) { return extreme<T, false>(a, b); });
  add2("max", [](T a, T b) { return extreme<T, true>(a, b); });
  add2("min.NaN", [](T a, T b) { return extreme_nan<T, false>(a, b); });
  add2("max.NaN", [](T a, T b) { return extreme_nan<T, true>(a, b); });
  const auto fma = [](T a, T b, T c) { return fused(a, b, c); };
  add_both<T, decltype(fma), T, T, T>(table, "fma.rn", type, fma);
  const auto neg = [](T a) { return T{static_cast<u16>(is_nan(a) ? kNan16 : a.bits ^ 0x8000u)}; };
  add_both<T, decltype(neg), T>(table, "neg", type, neg);
  const auto abs = [](T a) { return T{static_cast<u16>(is_nan(a) ? kNan16 : a.bits & 0x7fffu)}; };
  add_both<T, decltype(abs), T>(table, "abs", type, abs);
}

}  // namespace

void add_half_operations(OperationTable& table) {
  add_format<Half>(table);
  add_format<BFloat>(table);
}

}  // namespace cudasim
