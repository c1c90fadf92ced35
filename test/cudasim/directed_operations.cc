// Arithmetic rounded towards zero, down or up (.rz, .rm, .rp). Needs -frounding-math.
#include <cfenv>
#include <cmath>

#include "lanewise.h"

namespace cudasim {
namespace {

// The compiler must not move arithmetic across a change of the rounding mode, so values pass
// through volatile memory.
template <class T>
T opaque(T value) {
  volatile T held = value;
  return held;
}

template <int Mode, class F, class... S>
auto rounded(F f, S... in) {
  const int before = std::fegetround();
  std::fesetround(Mode);
  const auto result = opaque(f(opaque(in)...));
  std::fesetround(before);
  return result;
}

template <int Mode, class T>
void add_mode(OperationTable& table, const std::string& mode) {
  const std::string suffix = "." + mode + "." + kTypeName<T>;
  table.add("add" + suffix, lanewise<T, T, T>([](T a, T b) {
              return canonical(rounded<Mode>([](T x, T y) { return x + y; }, a, b));
            }));
  table.add("sub" + suffix, lanewise<T, T, T>([](T a, T b) {
              return canonical(rounded<Mode>([](T x, T y) { return x - y; }, a, b));
            }));
  table.add("mul" + suffix, lanewise<T, T, T>([](T a, T b) {
              return canonical(rounded<Mode>([](T x, T y) { return x * y; }, a, b));
            }));
  table.add("div" + suffix, lanewise<T, T, T>([](T a, T b) {
              return canonical(rounded<Mode>([](T x, T y) { return x / y; }, a, b));
            }));
  table.add(
      "fma" + suffix, lanewise<T, T, T, T>([](T a, T b, T c) {
        return canonical(rounded<Mode>([](T x, T y, T z) { return std::fma(x, y, z); }, a, b, c));
      }));
  table.add("rcp" + suffix, lanewise<T, T>([](T a) {
              return canonical(rounded<Mode>([](T x) { return T{1} / x; }, a));
            }));
  table.add("sqrt" + suffix, lanewise<T, T>([](T a) {
              return canonical(rounded<Mode>([](T x) { return std::sqrt(x); }, a));
            }));
}

}  // namespace

void add_directed_operations(OperationTable& table) {
  for_types<float, double>([&]<class T>() {
    add_mode<FE_TOWARDZERO, T>(table, "rz");
    add_mode<FE_DOWNWARD, T>(table, "rm");
    add_mode<FE_UPWARD, T>(table, "rp");
  });
}

}  // namespace cudasim
