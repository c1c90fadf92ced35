// Tests cvt, mov and cvta.
#include <cmath>

#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

constexpr u64 kMin64 = u64{1} << 63, kAll64 = ~u64{0}, kAll32 = 0xffffffff;

TEST_CASE("between integers: cvt truncates, extends or clamps") {
  check_rows({
      {"cvt.u32.u64", {0x1234567890abcdef}, 0x90abcdef},
      {"cvt.u64.u32", {kAll32}, kAll32},
      {"cvt.s64.s32", {kAll32}, kAll64},
      {"cvt.u64.s32", {kAll32}, kAll64},
      {"cvt.u16.u32", {0x12345678}, 0x5678},
      {"cvt.s32.s16", {0x8000}, 0xffff8000},
      {"cvt.u32.u16", {0x8000}, 0x8000},
      {"cvt.s32.s8", {0x80}, 0xffffff80},
      {"cvt.u32.u8", {0x80}, 0x80},
      {"cvt.sat.u8.s32", {300}, 255},
      {"cvt.sat.u32.s32", {kAll32}, 0},
      {"cvt.sat.s16.s32", {0x12345}, 0x7fff},
      {"cvt.sat.s32.s64", {kMin64}, 0x80000000},
      {"cvt.sat.s32.u32", {kAll32}, 0x7fffffff},
  });
  // Registers may be wider than the types.
  CHECK(evaluate_body("cvt.u32.u8 %w9, %w0;", {{"%w0", 0x1234}}, "%w9") == 0x34);
  CHECK(evaluate_body("cvt.s16.s8 %h9, %w0;", {{"%w0", 0x1280}}, "%h9") == 0xff80);
  CHECK(evaluate_body("cvt.s8.s32 %w9, %w0;", {{"%w0", 0x1280}}, "%w9") == 0xffffff80);
  CHECK(evaluate_body("cvt.u8.u32 %h9, %w0;", {{"%w0", 0x1280}}, "%h9") == 0x80);
  CHECK(evaluate_body("cvt.rn.f32.u8 %w9, %h0;", {{"%h0", 0x1202}}, "%w9") == f(2));
}

TEST_CASE("cvt from integers to floats rounds as asked") {
  check_rows({
      {"cvt.rn.f32.s32", {kAll32}, f(-1)},
      {"cvt.rn.f32.u32", {kAll32}, f(0x1p32f)},
      {"cvt.rz.f32.u32", {kAll32}, f(0x1.fffffep31f)},
      {"cvt.rn.f32.u32", {0x1000001}, f(0x1p24f)},  // a tie, to even
      {"cvt.rp.f32.u32", {0x1000001}, f(0x1.000002p24f)},
      {"cvt.rn.f32.u64", {0x8000008000000001}, f(0x1.000002p63f)},  // through f64 it would be a tie
      {"cvt.rn.f32.s64", {kMin64}, f(-0x1p63f)},
      {"cvt.rm.f32.s64", {kMin64 + 1}, f(-0x1p63f)},
      {"cvt.rz.f32.s64", {kMin64 + 1}, f(-0x1.fffffep62f)},
      {"cvt.rn.f64.s32", {0x80000000}, d(-0x1p31)},
      {"cvt.rn.f64.u64", {kAll64}, d(0x1p64)},
      {"cvt.rn.f16.s32", {65519}, 0x7bff},
      {"cvt.rn.f16.s32", {65520}, 0x7c00},
      {"cvt.rn.f16.u16", {2049}, 0x6800},
      {"cvt.rn.bf16.s32", {257}, 0x4380},
  });
}

TEST_CASE("from floats to integers: cvt rounds as asked and clamps") {
  check_rows({
      {"cvt.rzi.s32.f32", {f(-1.75f)}, kAll32},
      {"cvt.rni.s32.f32", {f(2.5f)}, 2},
      {"cvt.rni.s32.f32", {f(3.5f)}, 4},
      {"cvt.rmi.s32.f32", {f(-1.25f)}, kAll32 - 1},
      {"cvt.rpi.s32.f32", {f(1.25f)}, 2},
      {"cvt.rzi.s32.f32", {f(3e9f)}, 0x7fffffff},
      {"cvt.rzi.s32.f32", {f(-3e9f)}, 0x80000000},
      {"cvt.rzi.u32.f32", {f(-1)}, 0},
      {"cvt.rzi.u32.f32", {kInfinity32}, kAll32},
      {"cvt.rzi.s32.f32", {kNan32}, 0},
      {"cvt.rzi.s64.f32", {kNan32}, kMin64},
      {"cvt.rzi.u64.f64", {d(0x1p64)}, kAll64},
      {"cvt.rzi.s64.f64", {d(0x1p63)}, kMin64 - 1},
      {"cvt.rzi.s32.f64", {d(std::nan(""))}, 0x80000000},
      {"cvt.rzi.u8.f32", {f(300)}, 255},
      {"cvt.rzi.s32.f16", {0xc500}, kAll32 - 4},
      {"cvt.rni.u16.bf16", {0x40a0}, 5},
  });
}

TEST_CASE("cvt between floats rounds as asked") {
  check_rows({
      {"cvt.rn.f32.f64", {d(0x1.0000010000001p0)}, f(0x1.000002p0f)},
      {"cvt.rz.f32.f64", {d(0x1.000003p0)}, f(0x1.000002p0f)},
      {"cvt.rp.f32.f64", {d(0x1p-200)}, 1},
      {"cvt.rm.f32.f64", {d(-0x1p-200)}, 0x80000001},
      {"cvt.rz.f32.f64", {d(1e300)}, f(0x1.fffffep127f)},
      {"cvt.rn.f32.f64", {d(1e300)}, kInfinity32},
      {"cvt.f64.f32", {f(0x1p-149f)}, d(0x1p-149)},
      {"cvt.rni.f32.f32", {f(2.5f)}, f(2)},
      {"cvt.rzi.f32.f32", {f(-2.5f)}, f(-2)},
      {"cvt.rmi.f32.f32", {f(-2.5f)}, f(-3)},
      {"cvt.rpi.f32.f32", {f(-0.5f)}, f(-0.0f)},
      {"cvt.sat.f32.f32", {f(7)}, f(1)},
      {"cvt.sat.f32.f32", {kNan32}, 0},
      {"cvt.ftz.f32.f32", {1}, 0},
      {"cvt.rn.f16.f32", {f(65519)}, 0x7bff},
      {"cvt.rn.f16.f32", {f(65520)}, 0x7c00},
      {"cvt.rz.f16.f32", {f(65535)}, 0x7bff},
      {"cvt.rn.f16.f32", {f(0x1p-25f)}, 0},
      {"cvt.rn.f16.f32", {f(0x1.8p-24f)}, 2},
      {"cvt.rn.f16.f32", {kNan32}, kNan16},
      {"cvt.rp.f16.f32", {f(0x1p-40f)}, 1},
      {"cvt.rn.f16.f64", {d(0x1.0020000000001p0)}, 0x3c01},  // through f32 it would be a tie
      {"cvt.rn.bf16.f32", {f(1.00390625f)}, 0x3f80},
      {"cvt.rn.bf16.f32", {f(1.01171875f)}, 0x3f82},
      {"cvt.rz.bf16.f32", {f(1.01171875f)}, 0x3f81},
      {"cvt.rn.bf16.f32", {f(0x1.fffffep127f)}, 0x7f80},
      {"cvt.rn.bf16.f32", {0x7f800001}, kNan16},
      {"cvt.f32.f16", {0x0001}, f(0x1p-24f)},
      {"cvt.f32.f16", {0xfc00}, f(-HUGE_VALF)},
      {"cvt.f32.f16", {0x7d00}, kNan32},
      {"cvt.f32.bf16", {0x3f80}, f(1)},
      {"cvt.f32.bf16", {0x0001}, 0x10000},
      {"cvt.rni.f16.f16", {0x4100}, 0x4000},
      {"cvt.rn.f16x2.f32", {f(1), f(2)}, 0x3c004000},  // the first is the upper half
      {"cvt.rn.bf16x2.f32", {f(1), f(-2)}, 0x3f80c000},
      {"cvt.rz.f16x2.f32", {f(65535), f(1)}, 0x7bff3c00},
  });
}

TEST_CASE("cvt to 8 bits saturates at the largest number") {
  check_rows({
      {"cvt.rni.s8.f32", {f(2.5f)}, 2},
      {"cvt.rni.s8.f32", {f(-300)}, 0xff80},
      {"cvt.rni.s8.f32", {f(127.5f)}, 127},
      {"cvt.rni.s8.f32", {kNan32}, 0},
      {"cvt.rn.satfinite.e4m3x2.f32", {f(1), f(-2)}, 0x38c0},  // the first is the upper byte
      {"cvt.rn.satfinite.e4m3x2.f32", {f(448), f(464)}, 0x7e7e},
      {"cvt.rn.satfinite.e4m3x2.f32", {kInfinity32, f(-1e9f)}, 0x7efe},
      {"cvt.rn.satfinite.e4m3x2.f32", {kNan32, f(-0.0f)}, 0x7f80},
      {"cvt.rn.satfinite.e4m3x2.f32", {f(0x1p-9f), f(0x1p-10f)}, 0x0100},  // the second a tie
      {"cvt.rn.satfinite.e4m3x2.f32", {f(0x1.8p-9f), f(0x1.fp-7f)}, 0x0208},
      {"cvt.rn.satfinite.e4m3x2.f32", {f(17), f(19)}, 0x585a},  // ties, to even
      {"cvt.rn.satfinite.e5m2x2.f32", {f(1), f(-3)}, 0x3cc2},
      {"cvt.rn.satfinite.e5m2x2.f32", {f(57344), f(61440)}, 0x7b7b},
      {"cvt.rn.satfinite.e5m2x2.f32", {kInfinity32, kNan32}, 0x7b7f},
      {"cvt.rn.satfinite.e5m2x2.f32", {f(0x1p-16f), f(-0x1p-17f)}, 0x0180},
      {"cvt.rn.satfinite.e5m2x2.f32", {f(9), f(11)}, 0x484a},
  });
}

TEST_CASE("every half and bfloat survives float32, and narrowing rounds to nearest even") {
  for (u32 bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<u16>(bits)};
    const BFloat brain{static_cast<u16>(bits)};
    const float h = to_float(half), b = to_float(brain);
    if (h == h && narrow<Half>(h).bits != bits) FAIL_CHECK(bits);
    if (b == b && narrow<BFloat>(b).bits != bits) FAIL_CHECK(bits);
    if ((bits & 0x7fff) >= 0x7bff) continue;
    // Halfway between this half and the next, the tie goes to the even one.
    const float above = to_float(Half{static_cast<u16>(bits + 1)});
    const float middle = (h + above) / 2;
    const u16 even = static_cast<u16>(bits % 2 == 0 ? bits : bits + 1);
    if (narrow<Half>(middle).bits != even) FAIL_CHECK(bits);
    if (narrow<Half>(std::nextafter(middle, h)).bits != bits) FAIL_CHECK(bits);
    if (narrow<Half>(std::nextafter(middle, above)).bits != bits + 1) FAIL_CHECK(bits);
  }
}

TEST_CASE("mov packs, unpacks and takes addresses") {
  CHECK(evaluate_body("mov.b32 %w9, {%h0, %h1};", {{"%h0", 0x1234}, {"%h1", 0x5678}}, "%w9") ==
        0x56781234);
  CHECK(evaluate_body("mov.b32 %w9, {0, %h1};", {{"%h1", 0x3f80}}, "%w9") == f(1));
  CHECK(evaluate_body("mov.b32 {%h9, %h8}, %w0;", {{"%w0", 0x56781234}}, "%h9") == 0x1234);
  CHECK(evaluate_body("mov.b32 {_, %h9}, %w0;", {{"%w0", 0x56781234}}, "%h9") == 0x5678);
  CHECK(evaluate_body("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %w0; mov.b32 %w9, {hi, lo};}",
                      {{"%w0", 0x56781234}}, "%w9") == 0x12345678);
  CHECK(evaluate_body("mov.b64 %d9, {%w0, %w1};", {{"%w0", 1}, {"%w1", 2}}, "%d9") == 0x200000001);
  CHECK(evaluate_body("mov.b64 {%w9, %w8}, %d0;", {{"%d0", 0x200000001}}, "%w8") == 2);
  CHECK(evaluate_body("mov.b64 {%h1, %h2, %h3, %h9}, %d0;", {{"%d0", 0x4000300020001}}, "%h9") ==
        4);
  CHECK(evaluate_body("mov.b64 %d9, {%h1, %h1, %h1, %h2};", {{"%h1", 1}, {"%h2", 4}}, "%d9") ==
        0x4000100010001);
  CHECK(evaluate_body("mov.f32 %w9, 0f3F800000;", {}, "%w9") == f(1));
  CHECK(evaluate_body("mov.f64 %d9, 0d3FF8000000000000;", {}, "%d9") == d(1.5));
  CHECK(evaluate_body("mov.f32 %w9, 1.5;", {}, "%w9") == f(1.5f));
  CHECK(evaluate_body("mov.u32 %w9, -0x10;", {}, "%w9") == 0xfffffff0);
  CHECK(evaluate_body("mov.u64 %d9, 0xffffffffffffffffU;", {}, "%d9") == kAll64);
  CHECK(evaluate_body("mov.u32 %w9, WARP_SZ;", {}, "%w9") == 32);
  CHECK(evaluate_body(".shared .align 16 .b8 a[20]; .shared .b32 b; mov.u32 %w9, b;", {}, "%w9") ==
        20);
  CHECK(evaluate_body(".shared .align 16 .b8 a[20]; mov.u64 %d9, a+8;", {}, "%d9") == 8);
}

}  // namespace
}  // namespace cudasim::test
