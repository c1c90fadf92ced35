// Tests how the lanes of a warp diverge, reconverge and exchange data.
#include "kernel_test_support.h"

#include "flow.h"

namespace cudasim::test {
namespace {

// Runs a kernel with this body and returns %w9, the result, of each thread. %w0 is the thread.
std::vector<u32> results(const std::string& body, unsigned threads = 32) {
  Bench bench;
  bench.launch.block[0] = threads;
  const u64 out = bench.words(threads);
  bench.run(module_of("ld.param.u64 %d0, [param0]; mov.u32 %w0, %tid.x; mov.u32 %w9, 0;\n" + body +
                          "\nmul.wide.u32 %d1, %w0, 4; add.s64 %d1, %d0, %d1;"
                          "st.global.u32 [%d1], %w9;",
                      1),
            {out});
  return bench.read(out, threads);
}

template <class F>
std::vector<u32> expected(F f, u32 threads = 32) {
  std::vector<u32> values;
  for (u32 thread = 0; thread < threads; ++thread) values.push_back(f(thread));
  return values;
}

// A warp barrier that faults unless all 32 lanes are active.
const std::string kTogether = "bar.warp.sync -1;\n";

TEST_CASE("lanes reconverge after a branch") {
  CHECK(results("setp.lt.u32 %p0, %w0, 10; @%p0 bra A; mov.u32 %w9, 1; bra B; A: mov.u32 %w9, 2;"
                "B: " +
                kTogether + "add.u32 %w9, %w9, 10;") ==
        expected([](u32 t) { return t < 10 ? 12u : 11u; }));
}

TEST_CASE("lanes reconverge after a loop that they leave at different times") {
  CHECK(results("LOOP: setp.ge.u32 %p0, %w9, %w0; @%p0 bra END; add.u32 %w9, %w9, 1; bra LOOP;"
                "END: " +
                kTogether) == expected([](u32 t) { return t; }));
}

TEST_CASE("lanes reconverge in every iteration of a loop with two back edges") {
  // for (i = 0; i < 4; ++i) { together; if (lane & 1 << i) { ++n; continue; } n += 100; }
  CHECK(results("mov.u32 %w1, 0; HEAD: " + kTogether +
                "shr.u32 %w2, %w0, %w1; and.b32 %w2, %w2, 1; add.u32 %w1, %w1, 1;"
                "setp.eq.u32 %p0, %w2, 0; @%p0 bra EVEN;"
                "add.u32 %w9, %w9, 1; setp.lt.u32 %p1, %w1, 4; @%p1 bra HEAD; bra END;"
                "EVEN: add.u32 %w9, %w9, 100; setp.lt.u32 %p1, %w1, 4; @%p1 bra HEAD;"
                "END: " +
                kTogether) == expected([](u32 t) {
          const u32 ones = static_cast<u32>(std::popcount(t & 15));
          return ones + (4 - ones) * 100;
        }));
}

TEST_CASE("lanes reconverge after an early exit and in code that is out of order") {
  // if (lane < 8) { if (lane < 4) return; n = 1; } barrier of the others
  CHECK(results("setp.ge.u32 %p0, %w0, 8; @%p0 bra ON; setp.lt.u32 %p1, %w0, 4; @%p1 ret;"
                "mov.u32 %w9, 1; ON: bar.sync 0; bar.warp.sync 0xfffffff0;") ==
        expected([](u32 t) { return t >= 4 && t < 8 ? 1u : 0u; }));
  // The rare path comes last in the text and jumps back.
  CHECK(results("setp.lt.u32 %p0, %w0, 3; @%p0 bra RARE; BACK: " + kTogether +
                "add.u32 %w9, %w9, 1; bra END; RARE: mov.u32 %w9, 50; bra BACK; END:") ==
        expected([](u32 t) { return t < 3 ? 51u : 1u; }));
}

TEST_CASE("lanes reconverge in nested loops") {
  CHECK(results("mov.u32 %w1, 0; OUTER: mov.u32 %w2, 0;"
                "INNER: add.u32 %w9, %w9, 1; add.u32 %w2, %w2, 1; and.b32 %w3, %w0, 3;"
                "setp.lt.u32 %p0, %w2, %w3; @%p0 bra INNER;" +
                kTogether + "add.u32 %w1, %w1, 1; setp.lt.u32 %p1, %w1, 5; @%p1 bra OUTER;" +
                kTogether) == expected([](u32 t) { return 5 * ((t & 3) > 1 ? t & 3 : 1); }));
}

TEST_CASE("the order of blocks: loops are consecutive and end with their latch") {
  // 0 -> 1 (head) -> 2, 5 (exit); 2 (inner head) -> 3 -> 2, 4; 4 -> 1
  const FlowOrder order = order_blocks({{1}, {5, 2}, {3}, {2, 4}, {1}, {}});
  std::string text;
  for (const FlowStep& step : order.steps) {
    text += std::to_string(step.block) + (step.latch ? "' " : " ");
  }
  CHECK(text == "0 1 2 3 2' 4 1' 5 ");
  CHECK(order.back_edges.size() == 2);
  CHECK(order_blocks({{0}, {0}}).steps.size() ==
        2);  // a loop of one block; the other block is unreachable
}

TEST_CASE("a shuffle reads the lane that its mode and segment select") {
  const auto shuffled = [](const char* mode, const char* by, const char* clamp) {
    return results(std::string("add.u32 %w1, %w0, 100; shfl.sync.") + mode + ".b32 %w9|%p0, %w1, " +
                   by + ", " + clamp + ", -1; @!%p0 add.u32 %w9, %w9, 1000;");
  };
  CHECK(shuffled("bfly", "16", "31") == expected([](u32 t) { return (t ^ 16) + 100; }));
  CHECK(shuffled("down", "3", "31") ==
        expected([](u32 t) { return t + 3 < 32 ? t + 103 : t + 1100; }));
  CHECK(shuffled("up", "3", "0") == expected([](u32 t) { return t >= 3 ? t + 97 : t + 1100; }));
  CHECK(shuffled("idx", "5", "31") == expected([](u32) { return 105u; }));
  // Segments of 8 lanes: the mask 0x18 in bits 8 to 12.
  CHECK(shuffled("idx", "3", "0x181f") == expected([](u32 t) { return t / 8 * 8 + 103; }));
  CHECK(shuffled("down", "1", "0x181f") ==
        expected([](u32 t) { return t % 8 < 7 ? t + 101 : t + 1100; }));
  CHECK(shuffled("bfly", "8", "0x1807") == expected([](u32 t) {
          return (t & 8) != 0 ? (t ^ 8) + 100 : t + 1100;  // only a lower segment is in range
        }));
  CHECK(results("shfl.sync.bfly.b32 %w9, %w0, 1, 31, -1;") ==
        expected([](u32 t) { return t ^ 1; }));
}

TEST_CASE("votes and reductions combine all their lanes") {
  const std::string third = "rem.u32 %w1, %w0, 3; setp.eq.u32 %p0, %w1, 0;";
  CHECK(results(third + "vote.sync.ballot.b32 %w9, %p0, -1;") ==
        expected([](u32) { return 0x49249249u; }));
  CHECK(results(third + "vote.sync.any.pred %p1, %p0, -1; selp.b32 %w9, 1, 0, %p1;") ==
        expected([](u32) { return 1u; }));
  CHECK(results(third + "vote.sync.all.pred %p1, %p0, -1; selp.b32 %w9, 1, 0, %p1;") ==
        expected([](u32) { return 0u; }));
  CHECK(results("setp.lt.u32 %p1, %w0, 4; @%p1 activemask.b32 %w9;") ==
        expected([](u32 t) { return t < 4 ? 15u : 0u; }));
  CHECK(results("redux.sync.add.s32 %w9, %w0, -1;") == expected([](u32) { return 496u; }));
  CHECK(results("redux.sync.max.u32 %w9, %w0, -1;") == expected([](u32) { return 31u; }));
  CHECK(results(third + "bar.red.popc.u32 %w9, 0, %p0;", 100) ==
        expected([](u32) { return 34u; }, 100));
  CHECK(results(third + "barrier.red.and.pred %p1, 0, !%p0; selp.b32 %w9, 1, 2, %p1;", 64) ==
        expected([](u32) { return 2u; }, 64));
}

TEST_CASE("special registers hold indices, lane masks, sizes and the clock") {
  CHECK(results("mov.u32 %w9, %laneid;", 64) == expected([](u32 t) { return t % 32; }, 64));
  CHECK(results("mov.u32 %w9, %warpid;", 64) == expected([](u32 t) { return t / 32; }, 64));
  CHECK(results("mov.u32 %w9, %lanemask_lt;") == expected([](u32 t) { return (1u << t) - 1; }));
  CHECK(results("mov.u32 %w9, %ntid.x;") == expected([](u32) { return 32u; }));
  CHECK(results("mov.u64 %d2, %clock64; mov.u64 %d3, %clock64; setp.gt.u64 %p0, %d3, %d2;"
                "selp.b32 %w9, 1, 0, %p0;") == expected([](u32) { return 1u; }));
}

TEST_CASE("vectors keep their values in shared, local and generic memory") {
  // Each thread moves a vector of its own from space to space.
  CHECK(results(R"(
    .shared .align 16 .b8 s[512]; .local .align 16 .b8 l[32];
    mov.u32 %w1, s; mad.lo.u32 %w1, %w0, 16, %w1;
    add.u32 %w2, %w0, 1; add.u32 %w3, %w0, 2; add.u32 %w4, %w0, 3;
    st.shared.v4.u32 [%w1], {%w0, %w2, %w3, %w4};
    ld.shared.v2.u64 {%d2, %d3}, [%w1];
    st.local.v2.b64 [l+16], {%d3, %d2};
    mov.u64 %d4, l; cvta.local.u64 %d5, %d4; ld.v4.u32 {%w5, %w6, %w7, %w8}, [%d5+16];
    cvt.u64.u32 %d6, %w1; cvta.shared.u64 %d7, %d6; st.u32 [%d7], %w8;
    cvta.to.shared.u64 %d8, %d7; cvt.u32.u64 %w10, %d8; ld.shared.u32 %w11, [%w10];
    mul.lo.u32 %w9, %w5, 100; add.u32 %w9, %w9, %w11;)") ==
        expected([](u32 t) { return (t + 2) * 100 + t + 1; }));
  CHECK(results(R"(
    .local .align 8 .b8 l[16];
    st.local.u8 [l], %w0; st.local.s8 [l+1], -2; st.local.u16 [l+2], 0x8001;
    ld.local.s8 %w1, [l+1]; ld.local.u8 %w2, [l+1]; ld.local.s16 %w3, [l+2];
    ld.local.u16 %h1, [l+2]; cvt.u32.u16 %w4, %h1;
    add.u32 %w9, %w1, %w2; add.u32 %w9, %w9, %w3; add.u32 %w9, %w9, %w4;)") ==
        expected([](u32) { return 0xfffffffe + 0xfe + 0xffff8001 + 0x8001; }));
}

TEST_CASE("atomics return the old value and store the new one") {
  CHECK(results(R"(
    .shared .align 4 .b32 s;
    setp.ne.u32 %p0, %w0, 0; @%p0 bra ON; st.shared.u32 [s], 5; ON: bar.sync 0;
    atom.shared.add.u32 %w9, [s], 2;)") == expected([](u32 t) { return 5 + 2 * t; }));
  struct Atomic {
    const char* operation;
    u32 before, operand, after;
  };
  for (const auto& [operation, before, operand, after] :
       std::vector<Atomic>{{"min.s32", 5, 0xffffffff, 0xffffffff},
                           {"min.u32", 5, 0xffffffff, 5},
                           {"max.s32", 5, 0xffffffff, 5},
                           {"max.u32", 5, 0xffffffff, 0xffffffff},
                           {"and.b32", 12, 10, 8},
                           {"or.b32", 12, 10, 14},
                           {"xor.b32", 12, 10, 6},
                           {"exch.b32", 12, 10, 10},
                           {"inc.u32", 5, 5, 0},
                           {"inc.u32", 4, 5, 5},
                           {"dec.u32", 0, 5, 5},
                           {"dec.u32", 3, 5, 2},
                           {"add.s32", 1, 0xffffffff, 0}}) {
    CAPTURE(operation);
    const std::string body = ".shared .align 4 .b32 s; st.shared.u32 [s], " +
                             std::to_string(before) + "; atom.shared." + operation + " %w1, [s], " +
                             std::to_string(operand) + "; ld.shared.u32 %w2, [s];";
    CHECK(results(body + "mov.u32 %w9, %w1;", 1) == std::vector<u32>{before});
    CHECK(results(body + "mov.u32 %w9, %w2;", 1) == std::vector<u32>{after});
  }
  CHECK(results(".shared .align 4 .b32 s; st.shared.u32 [s], 4; atom.shared.cas.b32 %w1, [s], 4, 9;"
                "atom.shared.cas.b32 %w2, [s], 4, 7; mad.lo.u32 %w9, %w1, 100, %w2;",
                1) == std::vector<u32>{409});
}

}  // namespace
}  // namespace cudasim::test
