// Arithmetic on f32 and f64, rounded to nearest even.
#include <cmath>

#include "lanewise.h"

namespace cudasim {
namespace {

// Minimum and maximum. A number wins over NaN; -0 is less than +0.
template <class T>
T lesser(T a, T b) {
  const T ordered = a < b || (a == b && std::signbit(a)) ? a : b;
  return a != a ? canonical(b) : b != b ? a : ordered;
}
template <class T>
T greater(T a, T b) {
  const T ordered = a > b || (a == b && !std::signbit(a)) ? a : b;
  return a != a ? canonical(b) : b != b ? a : ordered;
}

// Adds name, name.ftz, name.sat and name.ftz.sat of f32.
template <class... S, class F>
void add_with_modifiers(OperationTable& table, const std::string& name, F) {
  table.add(name + ".f32", lanewise<float, S...>([](S... in) { return canonical(F{}(in...)); }));
  table.add(name + ".ftz.f32",
            lanewise<float, S...>([](S... in) { return flushed(canonical(F{}(flushed(in)...))); }));
  table.add(name + ".sat.f32",
            lanewise<float, S...>([](S... in) { return saturated(F{}(in...)); }));
  table.add(name + ".ftz.sat.f32",
            lanewise<float, S...>([](S... in) { return saturated(flushed(F{}(flushed(in)...))); }));
}

template <class... S, class F>
void add_without_sat(OperationTable& table, const std::string& name, F) {
  table.add(name + ".f32", lanewise<float, S...>([](S... in) { return canonical(F{}(in...)); }));
  table.add(name + ".ftz.f32",
            lanewise<float, S...>([](S... in) { return flushed(canonical(F{}(flushed(in)...))); }));
}

void add_single(OperationTable& table) {
  using f32 = float;
  // Without .rn, ptxas may contract mul and add to fma. Here each instruction rounds.
  for (const char* rounding : {"", ".rn"}) {
    const std::string r = rounding;
    add_with_modifiers<f32, f32>(table, "add" + r, [](f32 a, f32 b) { return a + b; });
    add_with_modifiers<f32, f32>(table, "sub" + r, [](f32 a, f32 b) { return a - b; });
    add_with_modifiers<f32, f32>(table, "mul" + r, [](f32 a, f32 b) { return a * b; });
  }
  add_with_modifiers<f32, f32, f32>(table, "fma.rn",
                                    [](f32 a, f32 b, f32 c) { return std::fma(a, b, c); });
  add_without_sat<f32, f32>(table, "div.rn", [](f32 a, f32 b) { return a / b; });
  add_without_sat<f32>(table, "rcp.rn", [](f32 a) { return 1.0f / a; });
  add_without_sat<f32>(table, "sqrt.rn", [](f32 a) { return std::sqrt(a); });
  add_without_sat<f32, f32>(table, "min", [](f32 a, f32 b) { return lesser(a, b); });
  add_without_sat<f32, f32>(table, "max", [](f32 a, f32 b) { return greater(a, b); });
  add_without_sat<f32, f32>(table, "min.NaN",
                            [](f32 a, f32 b) { return a != a || b != b ? a + b : lesser(a, b); });
  add_without_sat<f32, f32>(table, "max.NaN",
                            [](f32 a, f32 b) { return a != a || b != b ? a + b : greater(a, b); });
  add_without_sat<f32>(table, "neg", [](f32 a) { return -a; });
  add_without_sat<f32>(table, "abs", [](f32 a) { return std::fabs(a); });
  table.add("copysign.f32", lanewise<f32, f32, f32>(
                                [](f32 sign, f32 value) { return std::copysign(value, sign); }));
  table.add("slct.f32.s32",
            lanewise<f32, f32, f32, s32>([](f32 a, f32 b, s32 c) { return c >= 0 ? a : b; }));
}

// f32x2: two floats in a 64-bit register, since compute capability 10.0.
template <class... S, class F>
void add_pairs(OperationTable& table, const std::string& name, F) {
  table.add(name + ".f32x2", lanewise<Pair<float>, S...>([](S... in) {
              return Pair<float>{canonical(F{}(in.low...)), canonical(F{}(in.high...))};
            }));
}

void add_pair(OperationTable& table) {
  using f32 = float;
  using Two = Pair<f32>;
  add_pairs<Two, Two>(table, "add.rn", [](f32 a, f32 b) { return a + b; });
  add_pairs<Two, Two>(table, "mul.rn", [](f32 a, f32 b) { return a * b; });
  add_pairs<Two, Two, Two>(table, "fma.rn", [](f32 a, f32 b, f32 c) { return std::fma(a, b, c); });
}

void add_double(OperationTable& table) {
  using f64 = double;
  for (const char* rounding : {"", ".rn"}) {
    const std::string r = std::string(rounding) + ".f64";
    table.add("add" + r, lanewise<f64, f64, f64>([](f64 a, f64 b) { return a + b; }));
    table.add("sub" + r, lanewise<f64, f64, f64>([](f64 a, f64 b) { return a - b; }));
    table.add("mul" + r, lanewise<f64, f64, f64>([](f64 a, f64 b) { return a * b; }));
  }
  table.add("fma.rn.f64",
            lanewise<f64, f64, f64, f64>([](f64 a, f64 b, f64 c) { return std::fma(a, b, c); }));
  table.add("div.rn.f64", lanewise<f64, f64, f64>([](f64 a, f64 b) { return a / b; }));
  table.add("rcp.rn.f64", lanewise<f64, f64>([](f64 a) { return 1.0 / a; }));
  table.add("sqrt.rn.f64", lanewise<f64, f64>([](f64 a) { return std::sqrt(a); }));
  table.add("min.f64", lanewise<f64, f64, f64>([](f64 a, f64 b) { return lesser(a, b); }));
  table.add("max.f64", lanewise<f64, f64, f64>([](f64 a, f64 b) { return greater(a, b); }));
  table.add("neg.f64", lanewise<f64, f64>([](f64 a) { return -a; }));
  table.add("abs.f64", lanewise<f64, f64>([](f64 a) { return std::fabs(a); }));
  table.add("copysign.f64", lanewise<f64, f64, f64>(
                                [](f64 sign, f64 value) { return std::copysign(value, sign); }));
}

}  // namespace

void add_float_operations(OperationTable& table) {
  add_single(table);
  add_pair(table);
  add_double(table);
}

}  // namespace cudasim
