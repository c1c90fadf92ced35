// Approximate operations. PTX allows them an error, and the simulator makes one, in a direction
// that depends on the seed and the operands, so that no test can rely on their bits. Results that
// PTX specifies exactly (for zeros, infinities and NaN) are exact.
#include <cmath>

#include "lanewise.h"

namespace cudasim {
namespace {

// One of the two floats around `exact`; with `units` > 0, a float up to that many ulps from the
// nearest.
float disturbed(double exact, u64 seed, u64 operands, int units = 0) {
  const auto nearest = static_cast<float>(exact);
  if (!std::isnormal(nearest)) return canonical(nearest);
  const u64 random = scrambled(seed ^ scrambled(operands));
  s64 off = 0;
  if (units > 0) {
    off = static_cast<s64>(random % static_cast<u64>(2 * units + 1)) - units;
  } else if ((random & 1) != 0) {
    const double error = std::fabs(exact) - std::fabs(static_cast<double>(nearest));
    off = error > 0 || (error == 0 && (random & 2) != 0) ? 1 : -1;
  }
  const float moved = std::bit_cast<float>(static_cast<u32>(std::bit_cast<u32>(nearest) + off));
  return std::isnormal(moved) ? moved : nearest;
}

u64 key(float a, float b = 0) { return u64{std::bit_cast<u32>(a)} << 32 | std::bit_cast<u32>(b); }

template <class F>
void add_unary(OperationTable& table, const std::string& name, F) {
  table.add(name + ".f32", seeded<float, float>([](u64 seed, float a) { return F{}(seed, a); }));
  table.add(name + ".ftz.f32",
            seeded<float, float>([](u64 seed, float a) { return flushed(F{}(seed, flushed(a))); }));
}

template <class F>
void add_binary(OperationTable& table, const std::string& name, F) {
  table.add(name + ".f32", seeded<float, float, float>(
                               [](u64 seed, float a, float b) { return F{}(seed, a, b); }));
  table.add(name + ".ftz.f32", seeded<float, float, float>([](u64 seed, float a, float b) {
              return flushed(F{}(seed, flushed(a), flushed(b)));
            }));
}

}  // namespace

// The errors that PTX allows: rcp, sqrt, rsqrt and ex2 a relative error of 2^-23 or slightly more,
// about one ulp; div two ulps; lg2, sin and cos an absolute error of more than one ulp for results
// below 1.
void add_approximate_operations(OperationTable& table) {
  add_unary(table, "rcp.approx",
            [](u64 seed, float a) { return disturbed(1.0 / a, seed, key(a)); });
  add_unary(table, "sqrt.approx",
            [](u64 seed, float a) { return disturbed(std::sqrt(double{a}), seed, key(a)); });
  add_unary(table, "rsqrt.approx",
            [](u64 seed, float a) { return disturbed(1.0 / std::sqrt(double{a}), seed, key(a)); });
  add_unary(table, "ex2.approx",
            [](u64 seed, float a) { return disturbed(std::exp2(double{a}), seed, key(a)); });
  add_unary(table, "lg2.approx",
            [](u64 seed, float a) { return disturbed(std::log2(double{a}), seed, key(a)); });
  add_unary(table, "sin.approx",
            [](u64 seed, float a) { return disturbed(std::sin(double{a}), seed, key(a)); });
  add_unary(table, "cos.approx",
            [](u64 seed, float a) { return disturbed(std::cos(double{a}), seed, key(a)); });
  table.add("tanh.approx.f32", seeded<float, float>([](u64 seed, float a) {
              return disturbed(std::tanh(double{a}), seed, key(a), 2047);  // 2^-11
            }));
  add_binary(table, "div.approx", [](u64 seed, float a, float b) {
    return disturbed(double{a} / b, seed, key(a, b), 1);
  });
  add_binary(table, "div.full", [](u64 seed, float a, float b) {
    return disturbed(double{a} / b, seed, key(a, b), 1);
  });
}

}  // namespace cudasim
