// cp.async: the destination is written when the thread waits, and not before.
#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

// For a block of 32 threads. param0 is the source buffer, param1 the buffer of results. Addresses
// for each thread: %d2 its 16 bytes of the source, %w1 its 16 bytes of shared memory, %d3 its
// result.
const char* const kBegin = R"(
  .shared .align 16 .b8 s[1024];
  ld.param.u64 %d0, [param0]; ld.param.u64 %d1, [param1];
  mov.u32 %w0, %tid.x;
  mul.wide.u32 %d4, %w0, 16; add.s64 %d2, %d0, %d4;
  mul.wide.u32 %d4, %w0, 4; add.s64 %d3, %d1, %d4;
  mov.u32 %w1, s; mad.lo.u32 %w1, %w0, 16, %w1;
)";

struct Copying {
  Bench bench;
  u64 from = bench.words(256), to = bench.words(32, false);

  std::string run(const std::string& body, std::string* message = nullptr) {
    return fault_of([&] { bench.run(module_of(kBegin + body, 2), {from, to}); }, message);
  }
};

TEST_CASE("an asynchronous copy is written when its group is awaited") {
  Copying copying;
  CHECK(copying
            .run("cp.async.cg.shared.global [%w1], [%d2], 16; cp.async.commit_group;"
                 "cp.async.wait_group 0; ld.shared.u32 %w2, [%w1+4]; st.global.u32 [%d3], %w2;")
            .empty());
  const std::vector<u32> from = copying.bench.read(copying.from, 256);
  const std::vector<u32> to = copying.bench.read(copying.to, 32);
  for (std::size_t i = 0; i < to.size(); ++i) CHECK(to[i] == from[4 * i + 1]);
}

TEST_CASE("an asynchronous copy that is not awaited leaves its destination unwritten") {
  const std::string copy = "cp.async.ca.shared.global [%w1], [%d2], 8; cp.async.commit_group;";
  CHECK(Copying().run(copy + "ld.shared.u32 %w2, [%w1];") == "uninitialised");
  CHECK(Copying().run(copy + "cp.async.wait_group 1; ld.shared.u32 %w2, [%w1];") ==
        "uninitialised");
  CHECK(Copying().run(copy + copy + "cp.async.wait_group 1; ld.shared.u32 %w2, [%w1];").empty());
  CHECK(Copying()
            .run("cp.async.ca.shared.global [%w1], [%d2], 4;"
                 "cp.async.wait_all; ld.shared.u32 %w2, [%w1];")
            .empty());
}

TEST_CASE("reading what another thread copied requires a barrier") {
  const std::string read = "xor.b32 %w3, %w1, 16; ld.shared.u32 %w2, [%w3];";
  const std::string copy =
      "cp.async.cg.shared.global [%w1], [%d2], 16; cp.async.commit_group; cp.async.wait_group 0;";
  CHECK(Copying().run(copy + read) == "shared-race");
  CHECK(Copying().run(copy + "bar.sync 0;" + read).empty());
}

TEST_CASE("alignment and bounds of an asynchronous copy are checked") {
  const std::string end = "cp.async.wait_all;";
  CHECK(Copying().run("add.u32 %w1, %w1, 4; cp.async.cg.shared.global [%w1], [%d2], 16;" + end) ==
        "misaligned");
  CHECK(Copying().run("add.s64 %d2, %d2, 4; cp.async.cg.shared.global [%w1], [%d2], 16;" + end) ==
        "misaligned");
  CHECK(Copying().run("add.s64 %d2, %d2, 1024; cp.async.cg.shared.global [%w1], [%d2], 16;" +
                      end) == "out-of-bounds");
  CHECK(Copying().run("add.u32 %w1, %w1, 1024; cp.async.cg.shared.global [%w1], [%d2], 16;" +
                      end) == "out-of-bounds");
}

TEST_CASE("other forms of asynchronous copies are refused") {
  for (const char* one :
       {"cp.async.cg.shared.global [%w1], [%d2], 8;", "cp.async.ca.shared.global [%w1], [%d2], 12;",
        "cp.async.cg.shared.global [%w1+16], [%d2], 16;",
        "cp.async.cg.shared.global [%w1], [%d2], 16, 8;",
        "cp.async.cg.shared.global [%d1], [%d2], 16;", "cp.async.bulk.commit_group;",
        "cp.async.wait_group %w1;"}) {
    CAPTURE(one);
    CHECK(body_fault(one) == "invalid-ptx");
  }
}

}  // namespace
}  // namespace cudasim::test
