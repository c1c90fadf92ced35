// Tests each checker on a kernel with one planted error, and on the same kernel without the error.
#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

// param0 and param1 are buffers. %w0 is the thread, %w1 its block; %d2 and %d3 are the addresses of
// the thread's words in the buffers.
const char* const kBegin = R"(
  ld.param.u64 %d0, [param0]; ld.param.u64 %d1, [param1];
  mov.u32 %w0, %tid.x; mov.u32 %w1, %ctaid.x;
  mul.wide.u32 %d4, %w0, 4; add.s64 %d2, %d0, %d4; add.s64 %d3, %d1, %d4;
)";

struct Planted {
  Bench bench;
  u64 first, second;  // 64 words each; the second is not written
  std::string message;

  Planted() : first(bench.words(64)), second(bench.words(64, false)) {}

  std::string kind(const std::string& body) {
    return fault_of([&] { bench.run(module_of(kBegin + body, 2), {first, second}); }, &message);
  }
  bool says(const std::string& text) const { return message.find(text) != std::string::npos; }
};

// The kind of the fault of a kernel with this body, "" if none.
std::string kind_of(const std::string& body, unsigned threads = 32, unsigned blocks = 1) {
  Planted planted;
  planted.bench.launch.block[0] = threads;
  planted.bench.launch.grid[0] = blocks;
  return planted.kind(body);
}

TEST_CASE("an access out of bounds is a fault") {
  CHECK(kind_of("ld.global.u32 %w2, [%d2];").empty());
  CHECK(kind_of("ld.global.u32 %w2, [%d2+128];").empty());
  Planted planted;
  CHECK(planted.kind("ld.global.u32 %w2, [%d2+132];") == "out-of-bounds");
  CHECK(planted.says("test, PTX line"));
  CHECK(planted.says("(ld.global.u32 %w2, [%d2+132])"));
  CHECK(planted.says("block (0, 0, 0), thread (31, 0, 0)"));
  CHECK(planted.says("0 bytes after the allocation"));
  CHECK(kind_of("ld.global.u32 %w2, [%d2+-4];") == "out-of-bounds");
  CHECK(kind_of("st.global.u32 [%d3+132], 0;") == "out-of-bounds");
  CHECK(kind_of("ld.global.u32 %w2, [16];") == "out-of-bounds");
  CHECK(kind_of("prefetch.global.L2 [%d2+400000];").empty());
  const std::string shared =
      ".shared .align 16 .b8 s[64]; mov.u32 %w3, s; mad.lo.u32 %w3, %w0, 4, %w3;";
  CHECK(kind_of(shared + "st.shared.u32 [%w3], 0;", 16).empty());
  CHECK(kind_of(shared + "st.shared.u32 [%w3], 0;", 17) == "out-of-bounds");
  CHECK(kind_of("ld.param.u32 %w2, [param1+8];") == "out-of-bounds");
}

TEST_CASE("an access to freed memory is a fault") {
  Planted planted;
  planted.bench.memory.free(planted.first);
  planted.bench.words(64);  // does not reuse the address
  CHECK(planted.kind("ld.global.u32 %w2, [%d2];") == "use-after-free");
  CHECK(planted.says("was freed"));
  CHECK(planted.kind("st.global.u32 [%d3], 1;").empty());
}

TEST_CASE("a misaligned access is a fault") {
  CHECK(kind_of("ld.global.v4.u32 {%w2, %w3, %w4, %w5}, [%d0+16];").empty());
  CHECK(kind_of("ld.global.v4.u32 {%w2, %w3, %w4, %w5}, [%d0+8];") == "misaligned");
  CHECK(kind_of("st.global.v2.u32 [%d0+4], {%w0, %w0};") == "misaligned");
  CHECK(kind_of("ld.global.u16 %h0, [%d0+1];") == "misaligned");
  Planted planted;
  CHECK(planted.kind("ld.global.v2.u32 {%w2, %w3}, [%d2];") == "misaligned");
  CHECK(planted.says("thread (1, 0, 0)"));
  CHECK(kind_of(".shared .align 8 .b8 s[64]; st.shared.u32 [s+2], 0;", 1) == "misaligned");
}

TEST_CASE("reading unwritten memory is a fault") {
  CHECK(kind_of("ld.global.u32 %w2, [%d3];") == "uninitialised");
  CHECK(kind_of("st.global.u32 [%d3], 1; ld.global.u32 %w2, [%d3];").empty());
  Planted planted;
  CHECK(
      planted.kind("st.global.u8 [%d3], 1; st.global.u16 [%d3+2], 1; ld.global.u32 %w2, [%d3];") ==
      "uninitialised");
  CHECK(kind_of("red.global.add.u32 [%d1], 1;") == "uninitialised");
  const std::string shared =
      ".shared .align 16 .b8 s[256]; mov.u32 %w3, s; mad.lo.u32 %w3, %w0, 4, %w3;";
  CHECK(kind_of(shared + "ld.shared.u32 %w2, [%w3];") == "uninitialised");
  CHECK(kind_of(shared + "st.shared.u32 [%w3], 0; ld.shared.u32 %w2, [%w3];").empty());
  CHECK(kind_of(shared + "st.shared.u16 [%w3], 0; ld.shared.u32 %w2, [%w3];") == "uninitialised");
  // A block cannot read shared memory that another block wrote.
  CHECK(kind_of(shared + R"(
      setp.ne.u32 %p0, %w1, 0; @%p0 bra READ;
      st.shared.u32 [%w3], 0;
    READ: ld.shared.u32 %w2, [%w3];)",
                32, 4) == "uninitialised");
  const std::string local = ".local .align 8 .b8 l[8]; ";
  CHECK(kind_of(local + "ld.local.u32 %w2, [l];") == "uninitialised");
  CHECK(kind_of(local + "st.local.u64 [l], 0; ld.local.u32 %w2, [l+4];").empty());
  CHECK(kind_of(local + "st.local.u64 [l], 0; ld.local.u64 %d5, [l+8];") == "out-of-bounds");
}

TEST_CASE("using an unwritten register is a fault") {
  CHECK(kind_of("add.u32 %w2, %w3, 1;") == "uninitialised");
  CHECK(kind_of("@%p1 mov.u32 %w2, 1;") == "uninitialised");
  // Copying an unwritten register is allowed; using the copy is a fault.
  CHECK(kind_of("mov.u32 %w2, %w3;").empty());
  CHECK(kind_of("mov.u32 %w2, %w3; st.global.u32 [%d3], %w2;") == "uninitialised");
  CHECK(kind_of("mov.b64 %d5, {%w3, %w0}; shr.u64 %d6, %d5, 32;") == "uninitialised");
  // Each lane is checked on its own.
  const std::string half = "setp.lt.u32 %p1, %w0, 16; @%p1 mov.u32 %w2, 1; ";
  CHECK(kind_of(half + "@%p1 add.u32 %w3, %w2, 1;").empty());
  Planted planted;
  CHECK(planted.kind(half + "add.u32 %w3, %w2, 1;") == "uninitialised");
  CHECK(planted.says("thread (16, 0, 0)"));
}

// Addresses in shared memory: %w3 of the thread's own word, %w4 of the next thread's word (for the
// last thread its own). Tests write to %w3 and later read from %w4.
const std::string kShared = R"(
  .shared .align 16 .b8 s[512];
  mov.u32 %w3, s; mad.lo.u32 %w3, %w0, 4, %w3;
  add.u32 %w4, %w3, 4; mov.u32 %w5, %ntid.x; add.u32 %w5, %w5, -1;
  setp.eq.u32 %p0, %w0, %w5; selp.b32 %w4, %w3, %w4, %p0;
)";

TEST_CASE("a race between warps in shared memory is a fault") {
  const std::string sync = "bar.sync 0;\n", read = "ld.shared.u32 %w6, [%w4];\n";
  const std::string write =
      kShared + "st.shared.u32 [%w3], 1;" + sync + "st.shared.u32 [%w3], %w0;\n";
  CHECK(kind_of(write + sync + read, 128).empty());
  CHECK(kind_of(write + read, 128) == "shared-race");
  CHECK(kind_of(write + "bar.warp.sync -1;\n" + read, 128) == "shared-race");
  CHECK(kind_of(write + sync + read + "st.shared.u32 [%w3], 7;", 128) == "shared-race");
  CHECK(kind_of(write + sync + read + sync + "st.shared.u32 [%w3], 7;", 128).empty());
  // Two threads write to one word.
  CHECK(kind_of(write + "st.shared.u32 [%w4], %w0;", 128) == "shared-race");
  Planted planted;
  planted.bench.launch.block[0] = 64;
  CHECK(planted.kind(kShared + "st.shared.u32 [s], %w0;") == "shared-race");
  CHECK(planted.says("wrote it, with no barrier in between"));
  // Accesses of one thread do not race, nor do reads.
  CHECK(kind_of(write + "ld.shared.u32 %w6, [%w3]; st.shared.u32 [%w3], 1;", 128).empty());
  CHECK(kind_of(write + sync + "ld.shared.u32 %w6, [s+64]; ld.shared.u32 %w6, [s];", 128).empty());
  // Accesses to the two halves of a word do not race.
  CHECK(kind_of(kShared + "add.u32 %w7, %w0, %w0; mov.u32 %w8, s; add.u32 %w7, %w7, %w8;"
                          "mov.b16 %h0, 1; st.shared.u16 [%w7], %h0; ld.shared.u16 %h1, [%w7];",
                128)
            .empty());
  CHECK(kind_of(kShared + "st.shared.u32 [s], 0; bar.sync 0; atom.shared.add.u32 %w6, [s], 1;", 1)
            .empty());
  CHECK(kind_of(kShared + "setp.ne.u32 %p1, %w0, 0; @%p1 bra ON; st.shared.u32 [s], 0; ON:"
                          "bar.sync 0; atom.shared.add.u32 %w6, [s], 1;",
                128)
            .empty());
  CHECK(kind_of(kShared + "setp.ne.u32 %p1, %w0, 0; @%p1 bra ON; st.shared.u32 [s], 0; ON:"
                          "bar.sync 0; atom.shared.add.u32 %w6, [s], 1; ld.shared.u32 %w6, [s];",
                128) == "shared-race");
}

TEST_CASE("a race inside a warp in shared memory is a fault") {
  const std::string write = kShared + "st.shared.u32 [%w3], %w0;\n";
  const std::string read = "ld.shared.u32 %w6, [%w4];\n";
  CHECK(kind_of(write + read) == "shared-race");
  CHECK(kind_of(write + "bar.warp.sync -1;\n" + read).empty());
  CHECK(kind_of(write + "bar.sync 0;\n" + read).empty());
  // A shuffle does not order memory.
  CHECK(kind_of(write + "shfl.sync.bfly.b32 %w7|%p1, %w0, 1, 31, -1;\n" + read) == "shared-race");
  CHECK(kind_of(write + "bar.warp.sync -1;\n" + read + "st.shared.u32 [%w3], 7;") == "shared-race");
  CHECK(kind_of(write + "bar.warp.sync -1;\n" + read + "bar.warp.sync -1; st.shared.u32 [%w3], 7;")
            .empty());
  // Each half of the warp synchronises on its own, so the halves are not ordered with each other.
  const std::string halves =
      "setp.lt.u32 %p2, %w0, 16; selp.b32 %w8, 0xffff, 0xffff0000, %p2; bar.warp.sync %w8;\n";
  CHECK(kind_of(write + halves + read) == "shared-race");  // thread 15 reads what 16 wrote
  const std::string inside =
      "setp.eq.u32 %p3, %w0, 15; selp.b32 %w4, %w3, %w4, %p3;";  // 15 reads its own
  CHECK(kind_of(write + inside + halves + read).empty());
  CHECK(kind_of(write + inside + halves + read + halves + "st.shared.u32 [%w3], 7;").empty());
  CHECK(kind_of(write + inside + halves + read + "st.shared.u32 [%w3], 7;") == "shared-race");
}

TEST_CASE("a race between blocks in global memory is a fault") {
  const std::string offset =
      "mad.lo.u32 %w2, %w1, 32, %w0; mul.wide.u32 %d4, %w2, 4;"
      "add.s64 %d5, %d0, %d4; add.s64 %d6, %d1, %d4;";
  CHECK(kind_of(offset + "st.global.u32 [%d6], 1;", 32, 2).empty());
  CHECK(kind_of("st.global.u32 [%d3], 1;", 32, 2) == "global-race");
  CHECK(kind_of("st.global.u32 [%d3], 1;", 32, 1).empty());
  CHECK(kind_of("ld.global.u32 %w3, [%d2];", 32, 2).empty());
  CHECK(kind_of(offset + "ld.global.u32 %w3, [%d5]; st.global.u32 [%d5], %w3;", 32, 2).empty());
  // One block reads what another writes, in either order.
  for (const char* shift : {"4", "-4"}) {
    Planted planted;
    planted.bench.launch.grid[0] = 2;
    planted.bench.launch.block[0] = 31;
    const std::string body = offset + "ld.global.u32 %w3, [%d5]; add.s64 %d5, %d5, " + shift +
                             "; mov.u32 %w4, 0; setp.eq.u32 %p0, %w1, 1; @%p0 bra END;"
                             "st.global.u32 [%d0+128], 1; END:";
    CHECK(planted.kind(body) == "global-race");
    CHECK(planted.says("global memory"));
  }
  // Writes to different bytes of a word do not race.
  CHECK(kind_of("cvt.u64.u32 %d5, %w1; add.s64 %d5, %d1, %d5; mov.b16 %h0, 1;"
                "st.global.u8 [%d5], %h0;",
                1, 4)
            .empty());
  // Atomics do not race with each other, but they race with ordinary writes.
  CHECK(kind_of("red.global.add.u32 [%d2], 1;", 32, 2).empty());
  CHECK(kind_of("setp.eq.u32 %p0, %w1, 0; @%p0 st.global.u32 [%d2], 1;"
                "@!%p0 red.global.add.u32 [%d2], 1;",
                32, 2) == "global-race");
  // Accesses of different launches do not race.
  Planted planted;
  CHECK(planted.kind("st.global.u32 [%d3], 1;").empty());
  planted.bench.launch.grid[0] = 2;
  CHECK(planted.kind("ld.global.u32 %w2, [%d3];").empty());
}

TEST_CASE("a divergent barrier is a fault") {
  CHECK(kind_of("bar.sync 0;", 100).empty());
  CHECK(kind_of("setp.lt.u32 %p0, %w0, 16; @%p0 bar.sync 0;") == "divergent-barrier");
  CHECK(kind_of("setp.lt.u32 %p0, %w0, 16; @%p0 bra ON; bar.sync 0; ON:") == "divergent-barrier");
  // A barrier does not wait for warps and lanes that have exited.
  CHECK(kind_of("setp.lt.u32 %p0, %w0, 64; @%p0 ret; bar.sync 0;", 128).empty());
  CHECK(kind_of("setp.lt.u32 %p0, %w0, 40; @%p0 ret; bar.sync 0;", 128).empty());
  // Warps wait at different barriers.
  CHECK(kind_of("setp.lt.u32 %p0, %w0, 32; @%p0 bra A; bar.sync 0; bra END; A: bar.sync 1; END:",
                64) == "divergent-barrier");
  CHECK(
      kind_of("setp.lt.u32 %p0, %w0, 32; @%p0 bra A; bar.sync 1; bra END; A: bar.sync 1; END:", 64)
          .empty());
}

TEST_CASE("a shuffle, vote or warp barrier without all its lanes is a fault") {
  const auto shuffle = [](const std::string& members, const std::string& lane = "1",
                          const std::string& guard = "") {
    return guard + " shfl.sync.bfly.b32 %w2, %w0, " + lane + ", 31, " + members + ";\n";
  };
  const std::string low = "setp.lt.u32 %p0, %w0, 16;\n";
  CHECK(kind_of(shuffle("-1")).empty());
  CHECK(kind_of(low + shuffle("-1", "1", "@%p0")) == "inactive-shuffle");
  CHECK(kind_of(low + shuffle("0xffff", "1", "@%p0")).empty());
  CHECK(kind_of(low + shuffle("0xffff")) == "inactive-shuffle");  // does not name the caller
  CHECK(kind_of(low + shuffle("0xffff", "16", "@%p0")) == "inactive-shuffle");  // reads other lanes
  CHECK(kind_of(low + "selp.b32 %w3, 0xffff, 0xffff0000, %p0;" + shuffle("%w3")).empty());
  CHECK(kind_of(low + "selp.b32 %w3, 0xffff, 0xffffffff, %p0;" + shuffle("%w3")) ==
        "inactive-shuffle");
  CHECK(kind_of(shuffle("-1", "16"), 16) == "inactive-shuffle");  // lanes that do not exist
  CHECK(kind_of(low + "@%p0 ret;" + shuffle("-1")).empty());
  CHECK(kind_of(low + "@%p0 ret;" + shuffle("-1", "16")) == "inactive-shuffle");
  CHECK(kind_of(low + "@%p0 vote.sync.any.pred %p1, %p0, -1;") == "inactive-shuffle");
  CHECK(kind_of(low + "@%p0 bar.warp.sync -1;") == "inactive-shuffle");
  CHECK(kind_of(low + "@%p0 bar.warp.sync 0xffff;").empty());
}

TEST_CASE("trap and an endless loop are faults") {
  CHECK(kind_of("trap;") == "trap");
  CHECK(kind_of("setp.gt.u32 %p0, %w0, 99; @%p0 trap;").empty());
  Planted planted;
  planted.bench.options.most_instructions = 1000;
  CHECK(planted.kind("LOOP: bra LOOP;") == "endless");
  CHECK(planted.kind("").empty());
}

}  // namespace
}  // namespace cudasim::test
