// Tests integer arithmetic, logic and bit fields against known values.
#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

constexpr u64 kMin32 = 0x80000000, kMax32 = 0x7fffffff, kAll32 = 0xffffffff;
constexpr u64 kMin64 = u64{1} << 63, kMax64 = kMin64 - 1, kAll64 = ~u64{0};

TEST_CASE("integer arithmetic wraps around") {
  check_rows({
      {"add.u32", {kAll32, 2}, 1},
      {"add.s32", {kMax32, 1}, kMin32},
      {"add.s64", {kMax64, 1}, kMin64},
      {"add.s16", {0x7fff, 1}, 0x8000},
      {"add.u16", {0xffff, 3}, 2},
      {"add.sat.s32", {kMax32, 1}, kMax32},
      {"add.sat.s32", {kMin32, kAll32}, kMin32},
      {"sub.sat.s32", {kMin32, 1}, kMin32},
      {"sub.u32", {1, 2}, kAll32},
      {"sub.s64", {kMin64, 1}, kMax64},
      {"sub.u64", {0, 1}, kAll64},
      {"mul.lo.s32", {0x10001, 0x10001}, 0x20001},
      {"mul.lo.u64", {kAll64, 3}, kAll64 - 2},
      {"mul.lo.s16", {0xffff, 0x7fff}, 0x8001},
      {"mul.hi.u32", {kAll32, kAll32}, kAll32 - 1},
      {"mul.hi.s32", {kMin32, kMin32}, 0x40000000},
      {"mul.hi.s32", {kAll32, 5}, kAll32},
      {"mul.hi.u64", {kAll64, kAll64}, kAll64 - 1},
      {"mul.hi.s64", {kAll64, 5}, kAll64},
      {"mul.hi.u16", {0xffff, 0xffff}, 0xfffe},
      {"mul.hi.s16", {0x8000, 0x8000}, 0x4000},
      {"mul.wide.u32", {kAll32, kAll32}, 0xfffffffe00000001},
      {"mul.wide.s32", {kAll32, 5}, kAll64 - 4},
      {"mul.wide.u16", {0xffff, 0xffff}, 0xfffe0001},
      {"mul.wide.s16", {0xffff, 2}, kAll32 - 1},
      {"mad.lo.s32", {kAll32, 7, 10}, 3},
      {"mad.lo.u64", {3, 4, 5}, 17},
      {"mad.hi.u32", {kAll32, 2, 5}, 6},
      {"mad.hi.s32", {kMin32, 4, 5}, 3},
      {"mad.wide.u32", {kAll32, kAll32, kMax32}, 0xfffffffe80000000},
      {"mad.wide.s32", {kAll32, 8, 4}, kAll64 - 3},
      {"mad.wide.s16", {0xffff, 2, 1}, kAll32},
      {"sad.u32", {3, 10, 1}, 8},
      {"sad.s32", {kAll32, 1, 0}, 2},
      {"neg.s32", {5}, kAll32 - 4},
      {"neg.s32", {kMin32}, kMin32},
      {"neg.s64", {1}, kAll64},
      {"abs.s32", {kAll32}, 1},
      {"abs.s32", {kMin32}, kMin32},
      {"abs.s64", {kAll64 - 6}, 7},
      {"abs.s16", {0xfffe}, 2},
  });
}

TEST_CASE("integer division truncates, minimum and maximum respect signedness") {
  check_rows({
      {"div.u32", {kAll32, 2}, kMax32},
      {"div.s32", {kAll32 - 6, 2}, kAll32 - 2},  // -7 / 2, towards zero
      {"div.s32", {kMin32, kAll32}, kMin32},
      {"div.u32", {5, 0}, kAll32},
      {"div.u64", {kAll64, 10}, 1844674407370955161},
      {"div.s64", {kMin64, kAll64}, kMin64},
      {"div.s64", {kAll64 - 99, 7}, kAll64 - 13},
      {"div.u16", {0xffff, 16}, 0xfff},
      {"rem.u32", {kAll32, 10}, 5},
      {"rem.s32", {kAll32 - 6, 4}, kAll32 - 2},  // -7 % 4 = -3
      {"rem.s32", {kMin32, kAll32}, 0},
      {"rem.u64", {kAll64, 1000}, 615},
      {"rem.s64", {kAll64 - 6, 4}, kAll64 - 2},
      {"min.s32", {kAll32, 1}, kAll32},
      {"min.u32", {kAll32, 1}, 1},
      {"max.s32", {kAll32, 1}, 1},
      {"max.u32", {kAll32, 1}, kAll32},
      {"min.s64", {kAll64, 1}, kAll64},
      {"max.u64", {kAll64, 1}, kAll64},
      {"max.s16", {0xffff, 1}, 1},
      {"min.u16", {0xffff, 1}, 1},
  });
}

TEST_CASE("logic and shifts match known values") {
  check_rows({
      {"and.b32", {0xff00ff00, 0xffff0000}, 0xff000000},
      {"or.b64", {0xf0, kMin64}, kMin64 | 0xf0},
      {"xor.b32", {kAll32, 0x0f0f0f0f}, 0xf0f0f0f0},
      {"not.b32", {0}, kAll32},
      {"not.b16", {0x00ff}, 0xff00},
      {"and.b16", {0x1234, 0xff}, 0x34},
      {"cnot.b32", {0}, 1},
      {"cnot.b32", {7}, 0},
      {"shl.b32", {1, 31}, kMin32},
      {"shl.b32", {1, 32}, 0},
      {"shl.b32", {1, kAll32}, 0},
      {"shl.b64", {1, 63}, kMin64},
      {"shl.b64", {1, 64}, 0},
      {"shl.b16", {0xffff, 8}, 0xff00},
      {"shr.u32", {kMin32, 31}, 1},
      {"shr.u32", {kMin32, 32}, 0},
      {"shr.b32", {kMin32, 31}, 1},
      {"shr.s32", {kMin32, 31}, kAll32},
      {"shr.s32", {kMin32, 40}, kAll32},
      {"shr.u64", {kMin64, 63}, 1},
      {"shr.s64", {kMin64, 99}, kAll64},
      {"shr.s16", {0x8000, 15}, 0xffff},
      {"shr.u16", {0x8000, 15}, 1},
      {"shf.l.wrap.b32", {0x80000001, 0x1, 1}, 3},
      {"shf.l.wrap.b32", {0x80000001, 0x1, 33}, 3},
      {"shf.l.clamp.b32", {0x80000001, 0x1, 33}, 0x80000001},
      {"shf.r.wrap.b32", {0x2, 0x1, 1}, 0x80000001},
      {"shf.r.wrap.b32", {0x2, 0x1, 32}, 0x2},
      {"shf.r.clamp.b32", {0x2, 0x1, 32}, 0x1},
      {"lop3.b32", {0xf0f0f0f0, 0xcccccccc, 0xaaaaaaaa, 0x80}, 0x80808080},  // a & b & c
      {"lop3.b32", {0xf0f0f0f0, 0xcccccccc, 0xaaaaaaaa, 0x96}, 0x96969696},  // a ^ b ^ c
      {"lop3.b32", {0xff00ff00, 0x12345678, 0x9abcdef0, 0xca}, 0x12bc56f0},  // a ? b : c
  });
}

TEST_CASE("bit fields, counts and byte permutations match known values") {
  check_rows({
      {"bfe.u32", {0xabcd1234, 8, 8}, 0x12},
      {"bfe.s32", {0x0000f000, 12, 4}, kAll32},
      {"bfe.s32", {0x40000000, 28, 8}, 4},
      {"bfe.s32", {0x80000000, 28, 8}, 0xfffffff8},
      {"bfe.u32", {kAll32, 5, 0}, 0},
      {"bfe.s32", {kAll32, 5, 0}, 0},
      {"bfe.u64", {0xabcd123400000000, 40, 8}, 0x12},
      {"bfe.s64", {kMin64, 60, 4}, kAll64 - 7},
      {"bfi.b32", {0xff, 0, 4, 4}, 0xf0},
      {"bfi.b32", {0, kAll32, 8, 8}, 0xffff00ff},
      {"bfi.b32", {kAll32, 0, 28, 99}, 0xf0000000},
      {"bfi.b64", {0x5, 0, 62, 2}, kMin64 >> 1},
      {"bfind.u32", {0x00010000}, 16},
      {"bfind.u32", {0}, kAll32},
      {"bfind.s32", {kAll32}, kAll32},
      {"bfind.s32", {kAll32 - 8}, 3},
      {"bfind.shiftamt.u32", {0x00010000}, 15},
      {"bfind.u64", {kMin64}, 63},
      {"popc.b32", {0xf0f0f0f1}, 17},
      {"popc.b64", {kAll64}, 64},
      {"clz.b32", {1}, 31},
      {"clz.b32", {0}, 32},
      {"clz.b64", {1}, 63},
      {"brev.b32", {1}, kMin32},
      {"brev.b32", {0x12345678}, 0x1e6a2c48},
      {"brev.b64", {1}, kMin64},
      {"prmt.b32", {0x33221100, 0x77665544, 0x7531}, 0x77553311},
      {"prmt.b32", {0x33221100, 0x77665544, 0x0123}, 0x00112233},
      {"prmt.b32", {0x00008000, 0x00000000, 0x9998}, 0xffffff00},  // signs of bytes 1 and 0
      {"selp.b32", {1, 2, 1}, 1},
      {"selp.u32", {1, 2, 0}, 2},
      {"selp.b16", {1, 2, 0}, 2},
      {"selp.f64", {d(1), d(2), 1}, d(1)},
      {"and.pred", {1, 0}, 0},
      {"or.pred", {1, 0}, 1},
      {"xor.pred", {1, 1}, 0},
      {"not.pred", {0}, 1},
      {"mov.pred", {1}, 1},
  });
}

TEST_CASE("integer comparisons respect signedness") {
  check_rows({
      {"setp.eq.s32", {3, 3}, 1},
      {"setp.ne.b64", {3, 3}, 0},
      {"setp.lt.s32", {kAll32, 0}, 1},
      {"setp.lt.u32", {kAll32, 0}, 0},
      {"setp.lo.u32", {0, kAll32}, 1},
      {"setp.hs.u64", {kAll64, 0}, 1},
      {"setp.le.s64", {kMin64, kMax64}, 1},
      {"setp.gt.u64", {kMin64, kMax64}, 1},
      {"setp.ge.s16", {0xffff, 0}, 0},
      {"setp.ge.u16", {0xffff, 0}, 1},
      {"setp.eq.b16", {0xffff, 0xffff}, 1},
      {"setp.lt.and.s32", {1, 2, 0}, 0},
      {"setp.lt.or.s32", {2, 1, 1}, 1},
      {"setp.lt.xor.s32", {1, 2, 1}, 0},
      {"set.lt.u32.s32", {kAll32, 0}, kAll32},
      {"set.lt.u32.u32", {kAll32, 0}, 0},
  });
}

}  // namespace
}  // namespace cudasim::test
