// Tests float arithmetic against known values: ties, subnormals, infinities, NaN.
#include <cmath>

#include "kernel_test_support.h"
#include "operations.h"

namespace cudasim::test {
namespace {

constexpr u64 kInf = kInfinity32, kNan = kNan32, kNegative = 0x80000000, kLeast = 1;
constexpr u64 kOtherNan = 0xffc00001;

TEST_CASE("f32 arithmetic rounds once and keeps subnormals") {
  check_rows({
      {"add.f32", {f(1), f(2)}, f(3)},
      {"add.rn.f32", {f(1), f(0x1p-24f)}, f(1)},  // a tie, to even
      {"add.rn.f32", {f(0x1.000002p0f), f(0x1p-24f)}, f(0x1.000004p0f)},
      {"add.rn.f32", {kLeast, kLeast}, 2},
      {"add.rn.f32", {kInf, kInf | kNegative}, kNan},
      {"add.rn.f32", {kOtherNan, f(1)}, kNan},
      {"add.rn.f32", {f(0), kNegative}, 0},
      {"add.rn.f32", {f(0x1.fffffep127f), f(0x1p103f)}, kInf},
      {"add.rz.f32", {f(1), f(0x1.8p-24f)}, f(1)},
      {"add.rp.f32", {f(1), f(0x1p-60f)}, f(0x1.000002p0f)},
      {"add.rm.f32", {f(1), f(-0x1p-60f)}, f(0x1.fffffep-1f)},
      {"add.rm.f32", {f(1), f(-1)}, kNegative},
      {"sub.rn.f32", {f(1), f(1)}, 0},
      {"sub.f32", {f(1), f(0x1p-25f)}, f(1)},
      {"mul.rn.f32", {f(0x1p-100f), f(0x1p-49f)}, kLeast},
      {"mul.rn.f32", {f(0x1p-100f), f(0x1p-50f)}, 0},  // half of the least number: a tie, to even
      {"mul.rn.f32", {kInf, f(0)}, kNan},
      {"mul.f32", {f(-3), f(5)}, f(-15)},
      {"mul.rz.f32", {f(0x1.fffffep0f), f(0x1.fffffep0f)}, f(0x1.fffffcp1f)},
      {"mul.ftz.f32", {f(0x1p-100f), f(0x1p-30f)}, 0},
      {"mul.ftz.f32", {kLeast | kNegative, f(2)}, kNegative},
      {"add.ftz.f32", {kLeast, f(0)}, 0},
      {"add.sat.f32", {f(0.75f), f(0.75f)}, f(1)},
      {"add.sat.f32", {f(-1), f(0.5f)}, 0},
      {"mul.sat.f32", {kInf, f(0)}, 0},
      {"fma.rn.f32", {f(0x1.000002p0f), f(0x1.000002p0f), f(-0x1.000004p0f)}, f(0x1p-46f)},
      {"fma.rn.f32", {f(0x1p-75f), f(0x1p-75f), kLeast}, kLeast + 1},  // 1.5: a tie, to even
      {"fma.rn.f32", {kInf, f(0), f(1)}, kNan},
      {"fma.rn.f32", {f(0x1p127f), f(2), f(-0x1.fffffep127f)}, f(0x1p104f)},
      {"fma.rz.f32", {f(1), f(1), f(0x1.8p-24f)}, f(1)},
      {"fma.rn.sat.f32", {f(2), f(2), f(2)}, f(1)},
      {"fma.rn.ftz.f32", {kLeast, f(1), f(0)}, 0},
  });
}

TEST_CASE("f32 division and square root are rounded correctly") {
  check_rows({
      {"div.rn.f32", {f(1), f(3)}, f(0x1.555556p-2f)},
      {"div.rn.f32", {f(1), f(0)}, kInf},
      {"div.rn.f32", {f(0), f(0)}, kNan},
      {"div.rn.f32", {f(0x1p-126f), f(4)}, f(0x1p-128f)},
      {"div.rz.f32", {f(2), f(3)}, f(0x1.555554p-1f)},
      {"rcp.rn.f32", {f(3)}, f(0x1.555556p-2f)},
      {"rcp.rn.f32", {kNegative}, kInf | kNegative},
      {"rcp.rn.f32", {f(0x1p127f)}, f(0x1p-127f)},
      {"rcp.rz.f32", {f(3)}, f(0x1.555554p-2f)},
      {"sqrt.rn.f32", {f(2)}, f(0x1.6a09e6p0f)},
      {"sqrt.rn.f32", {f(-1)}, kNan},
      {"sqrt.rn.f32", {kNegative}, kNegative},
      {"sqrt.rn.f32", {kLeast}, f(0x1.6a09e6p-75f)},
      {"sqrt.rp.f32", {f(2)}, f(0x1.6a09e8p0f)},
      {"sqrt.rn.ftz.f32", {kLeast}, 0},
  });
}

TEST_CASE("f32 minimum, maximum and sign operations handle NaN and signed zeros") {
  check_rows({
      {"min.f32", {f(0), kNegative}, kNegative},
      {"max.f32", {kNegative, f(0)}, 0},
      {"min.f32", {kOtherNan, f(1)}, f(1)},
      {"max.f32", {f(1), kOtherNan}, f(1)},
      {"max.f32", {kOtherNan, kOtherNan}, kNan},
      {"min.f32", {f(-2), kInf}, f(-2)},
      {"max.NaN.f32", {f(1), kOtherNan}, kNan},
      {"min.NaN.f32", {f(1), f(2)}, f(1)},
      {"neg.f32", {f(0)}, kNegative},
      {"abs.f32", {f(-3)}, f(3)},
      {"copysign.f32", {f(-1), f(3)}, f(-3)},  // the sign of the first operand
      {"slct.f32.s32", {f(1), f(2), 0x80000000}, f(2)},
  });
}

TEST_CASE("f32 comparisons: with NaN, ordered ones are false and unordered ones true") {
  for (const char* name : {"eq", "ne", "lt", "le", "gt", "ge"}) {
    CAPTURE(name);
    CHECK(evaluate(std::string("setp.") + name + ".f32", {kOtherNan, f(1)}) == 0);
    CHECK(evaluate(std::string("setp.") + name + "u.f32", {f(1), kOtherNan}) == 1);
    CHECK(evaluate(std::string("setp.") + name + ".f16", {0x7e00, 0x3c00}) == 0);
  }
  check_rows({
      {"setp.eq.f32", {f(0), kNegative}, 1},
      {"setp.ne.f32", {f(0), kNegative}, 0},
      {"setp.lt.f32", {f(-1), kLeast}, 1},
      {"setp.lt.ftz.f32", {f(0), kLeast}, 0},
      {"setp.lt.f32", {f(0), kLeast}, 1},
      {"setp.geu.f32", {kInf, kInf}, 1},
      {"setp.num.f32", {f(1), kInf}, 1},
      {"setp.nan.f32", {f(1), kOtherNan}, 1},
      {"setp.gt.and.f32", {f(2), f(1), 1}, 1},
      {"setp.gt.f64", {d(2), d(1)}, 1},
      {"setp.gt.f16", {0x4000, 0x3c00}, 1},
      {"setp.gt.bf16", {0x4000, 0x3f80}, 1},
      {"testp.infinite.f32", {kInf}, 1},
      {"testp.subnormal.f32", {kLeast}, 1},
      {"testp.number.f32", {kOtherNan}, 0},
  });
}

TEST_CASE("f64 arithmetic is rounded correctly") {
  check_rows({
      {"add.rn.f64", {d(1), d(0x1p-53)}, d(1)},
      {"add.f64", {d(0x1p-1074), d(0x1p-1074)}, 2},
      {"sub.rn.f64", {d(3), d(1)}, d(2)},
      {"mul.rn.f64", {d(0x1p-600), d(0x1p-474)}, 1},
      {"mul.rp.f64", {d(0x1p-600), d(0x1p-600)}, 1},
      {"fma.rn.f64", {d(0x1.0000001p0), d(0x1.0000001p0), d(-0x1.0000002p0)}, d(0x1p-56)},
      {"div.rn.f64", {d(1), d(3)}, d(0x1.5555555555555p-2)},
      {"rcp.rn.f64", {d(3)}, d(0x1.5555555555555p-2)},
      {"sqrt.rn.f64", {d(2)}, d(0x1.6a09e667f3bcdp0)},
      {"min.f64", {d(1), d(-1)}, d(-1)},
      {"max.f64", {d(1), d(-1)}, d(1)},
      {"neg.f64", {d(1)}, d(-1)},
      {"abs.f64", {d(-1)}, d(1)},
      {"div.rn.f64", {d(1), d(0)}, kInfinity64},
  });
}

TEST_CASE("f16 and bf16 arithmetic rounds once, single and in pairs") {
  constexpr u64 kHalfInf = 0x7c00, kBrainInf = 0x7f80;
  check_rows({
      {"add.f16", {0x3c00, 0x3c00}, 0x4000},
      {"add.rn.f16", {0x3c00, 0x1000}, 0x3c00},  // 1 + 2^-11: a tie, to even
      {"add.f16", {0x3c01, 0x1000}, 0x3c02},
      {"add.f16", {0x7bff, 0x4c00}, kHalfInf},  // 65504 + 16: the least sum that gives infinity
      {"add.f16", {0x7bff, 0x4bff}, 0x7bff},
      {"sub.f16", {0x0001, 0x0002}, 0x8001},
      {"mul.f16", {0x0001, 0x3800}, 0},  // half of the least number: a tie, to even
      {"mul.f16", {0x0003, 0x3800}, 2},
      {"mul.f16", {kHalfInf, 0}, kNan16},
      {"fma.rn.f16",
       {0x3c01, 0x3c01, 0xbc02},
       0x0010},  // 2^-20; 0 if the product were rounded first
      {"fma.rn.f16", {0x7800, 0x4000, 0xfbff}, 0x5000},  // 65536 - 65504
      {"fma.rn.f16", {0x3c00, 0x3c00, 0x0001}, 0x3c00},
      // With an intermediate rounding to float32, these would become ties and round up.
      {"fma.rn.f16", {0x2801, 0x23fe, 0x3c01}, 0x3c01},   // 2^-11 (1 - 2^-20) + 1 + 2^-10
      {"fma.rn.bf16", {0x40e0, 0x3e14, 0xb080}, 0x3f81},  // 259 / 256 - 2^-30
      {"min.f16", {0x8000, 0}, 0x8000},
      {"max.f16", {0x7e01, 0x3c00}, 0x3c00},
      {"max.NaN.f16", {0x7e01, 0x3c00}, kNan16},
      {"neg.f16", {0x3c00}, 0xbc00},
      {"abs.f16", {0xbc00}, 0x3c00},
      {"add.bf16", {0x3f80, 0x3b80}, 0x3f80},  // 1 + 2^-8: a tie, to even
      {"add.rn.bf16", {0x3f81, 0x3b80}, 0x3f82},
      {"mul.bf16", {0x7f00, 0x4000}, kBrainInf},
      {"mul.bf16", {0x0001, 0x3f00}, 0},
      {"fma.rn.bf16", {0x3f81, 0x3f81, 0xbf82}, 0x3880},  // 2^-14
      {"fma.rn.bf16", {0x3f80, 0x3f80, 0x0001}, 0x3f80},
      {"min.bf16", {0x3f80, 0xbf80}, 0xbf80},
      {"min.NaN.bf16", {0x3f80, 0x7fc1}, kNan16},
      {"neg.bf16", {0x3f80}, 0xbf80},
      {"abs.bf16", {0xbf80}, 0x3f80},
      {"add.f16x2", {0x3c004000, 0x3c003c00}, 0x40004200},
      {"mul.rn.f16x2", {0x4000bc00, 0x42003c00}, 0x4600bc00},
      {"sub.bf16x2", {0x40003f80, 0x3f803f80}, 0x3f800000},
      {"fma.rn.f16x2", {0x3c014000, 0x3c014000, 0xbc023c00}, 0x00104500},
      {"fma.rn.bf16x2", {0x3f803f81, 0x3f803f81, 0x3f80bf82}, 0x40003880},
      {"max.f16x2", {0x3c00bc00, 0xbc003c00}, 0x3c003c00},
      {"neg.f16x2", {0x3c00bc00}, 0xbc003c00},
      {"abs.bf16x2", {0xbf80bf80}, 0x3f803f80},
  });
}

TEST_CASE("approximate operations stay within their error and depend on the seed") {
  struct Approximation {
    const char* mnemonic;
    double (*exact)(double);
    double error;  // relative
  };
  const Approximation approximations[] = {
      {"rcp.approx.f32", [](double a) { return 1 / a; }, 0x1p-23},
      {"rsqrt.approx.f32", [](double a) { return 1 / std::sqrt(a); }, 0x1.2p-23},
      {"sqrt.approx.f32", [](double a) { return std::sqrt(a); }, 0x1p-23},
      {"ex2.approx.f32", [](double a) { return std::exp2(a); }, 0x1p-22},
      {"sin.approx.f32", [](double a) { return std::sin(a); }, 0x1p-20},
      {"tanh.approx.f32", [](double a) { return std::tanh(a); }, 0x1p-11},
  };
  for (const auto& [mnemonic, exact, error] : approximations) {
    CAPTURE(mnemonic);
    int different = 0;
    for (u64 seed = 1; seed <= 20; ++seed) {
      const auto value = static_cast<float>(1.0 + 0.037 * static_cast<double>(seed));
      const u64 bits = evaluate(mnemonic, {f(value)}, seed);
      const double result = std::bit_cast<float>(static_cast<u32>(bits));
      CHECK(std::fabs(result / exact(value) - 1) <= error);
      different += bits != evaluate(mnemonic, {f(value)}, seed + 100);
    }
    CHECK(different > 2);
  }
  check_rows({
      {"rsqrt.approx.f32", {f(0)}, kInf},
      {"rsqrt.approx.f32", {kNegative}, kInf | kNegative},
      {"rsqrt.approx.f32", {f(-1)}, kNan},
      {"rsqrt.approx.ftz.f32", {kLeast}, kInf},
      {"rcp.approx.f32", {kInf}, 0},
      {"ex2.approx.f32", {kInf | kNegative}, 0},
      {"div.approx.f32", {f(1), f(0)}, kInf},
      {"lg2.approx.f32", {f(0)}, kInf | kNegative},
  });
}

TEST_CASE("f32x2 arithmetic rounds each half on its own") {
  const auto two = [](float low, float high) { return f(high) << 32 | f(low); };
  check_rows({
      {"add.rn.f32x2", {two(1, 0x1p-30f), two(0x1p-30f, 1)}, two(1, 1)},
      {"mul.rn.f32x2", {two(3, -0x1p127f), two(2, 2)}, two(6, -INFINITY)},
      {"fma.rn.f32x2",
       {two(1 + 0x1p-12f, 2), two(1 + 0x1p-12f, 3), two(-1, 4)},
       two(0x1p-11f + 0x1p-24f, 10)},
  });
}

}  // namespace
}  // namespace cudasim::test
