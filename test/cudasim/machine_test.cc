#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
// Tests device memory, and the launch of a kernel as a whole.
#include "kernel_test_support.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

namespace cudasim::test {
namespace {

TEST_CASE("allocations are sparse, aligned to 256 bytes and counted") {
  DeviceMemory memory(std::size_t{80} << 30);
  const u64 large = memory.allocate(std::size_t{60} << 30);
  const u64 small = memory.allocate(1);
  REQUIRE(large != 0);
  REQUIRE(small != 0);
  CHECK(large % 256 == 0);
  CHECK(large % 512 != 0);
  CHECK(small % 256 == 0);
  CHECK(memory.live_allocations() == 2);
  CHECK(memory.free_bytes() == (std::size_t{20} << 30) - 256);
  CHECK(memory.allocate(std::size_t{20} << 30) == 0);
  const u64 far = large + (std::size_t{59} << 30);
  memory.write(far, "abc", 3);
  char text[3];
  memory.read(far, text, 3);
  CHECK(std::memcmp(text, "abc", 3) == 0);
  memory.free(large);
  CHECK(memory.live_allocations() == 1);
  CHECK(memory.allocate(std::size_t{20} << 30) != 0);
}

// The bytes of host memory that this process uses.
std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  file >> total >> resident;
  REQUIRE(file.good());
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST_CASE("a huge allocation takes host memory only for pages that are touched") {
  DeviceMemory memory(std::size_t{80} << 30);
  const u64 huge = memory.allocate(std::size_t{64} << 30);
  REQUIRE(huge != 0);
  const std::size_t before = resident_bytes();
  constexpr u64 kApart = u64{1} << 27;
  for (u64 i = 0; i < 512; ++i) memory.write(huge + i * kApart, &i, sizeof i);
  CHECK(resident_bytes() - before < std::size_t{64} << 20);  // pages of 4 KiB, contents and shadow
  for (u64 i = 0; i < 512; ++i) {
    u64 found = 0;
    memory.read(huge + i * kApart, &found, sizeof found);
    CHECK(found == i);
  }
}

TEST_CASE("copies and fills check bounds and unwritten bytes") {
  DeviceMemory memory(1 << 20);
  const u64 a = memory.allocate(100), b = memory.allocate(100);
  unsigned char bytes[101] = {};
  const auto kind = [](auto&& f) { return fault_of(f); };
  CHECK(kind([&] { memory.write(a, bytes, 101); }) == "out-of-bounds");
  CHECK(kind([&] { memory.write(a - 1, bytes, 1); }) == "out-of-bounds");
  CHECK(kind([&] { memory.read(a, bytes, 1); }) == "uninitialised");
  memory.fill<unsigned char>(a, 7, 99);
  CHECK(kind([&] { memory.read(a, bytes, 99); }).empty());
  CHECK(bytes[98] == 7);
  std::string message;
  CHECK(fault_of([&] { memory.read(a, bytes, 100); }, &message) == "uninitialised");
  CHECK(message.find("byte 99") != std::string::npos);
  memory.copy(b, a, 99);
  memory.read(b, bytes, 99);
  CHECK(bytes[0] == 7);
  memory.free(a);
  CHECK(kind([&] { memory.copy(b, a, 1); }) == "use-after-free");
  CHECK(kind([&] { memory.free(a); }) == "use-after-free");
  CHECK(kind([&] { memory.free(b + 1); }) == "out-of-bounds");
}

TEST_CASE("writes are tracked byte by byte") {
  DeviceMemory memory(1 << 20);
  const u64 a = memory.allocate(1000);
  for (const std::size_t begin : {0u, 1u, 63u, 64u, 65u, 130u}) {
    for (const std::size_t count : {1u, 2u, 62u, 63u, 64u, 65u, 128u, 200u}) {
      CAPTURE(begin);
      CAPTURE(count);
      const u64 start = memory.allocate(1000);
      unsigned char bytes[500];
      memory.fill<unsigned char>(start + begin, 1, count);
      CHECK(fault_of([&] { memory.read(start + begin, bytes, count); }).empty());
      CHECK(fault_of([&] { memory.read(start + begin, bytes, count + 1); }) == "uninitialised");
      if (begin > 0) {
        CHECK(fault_of([&] { memory.read(start + begin - 1, bytes, count); }) == "uninitialised");
      }
      memory.free(start);
    }
  }
  CHECK(memory.live_allocations() == 1);
  memory.free(a);
}

TEST_CASE("every thread of every block runs once, in a block order that depends on the seed") {
  // out[block] = the ticket that its first thread drew; counts[thread, over all blocks] += 1
  const std::string ptx = module_of(R"(
    ld.param.u64 %d0, [param0]; ld.param.u64 %d1, [param1]; ld.param.u64 %d2, [param2];
    mov.u32 %w0, %ctaid.x; mov.u32 %w1, %ctaid.y; mov.u32 %w2, %nctaid.x;
    mad.lo.u32 %w0, %w1, %w2, %w0;
    mov.u32 %w3, %tid.x; mov.u32 %w4, %tid.y; mov.u32 %w5, %ntid.x;
    mad.lo.u32 %w3, %w4, %w5, %w3;
    setp.ne.u32 %p0, %w3, 0;
    @%p0 bra MINE;
    atom.global.add.u32 %w6, [%d0], 1;
    mul.wide.u32 %d3, %w0, 4; add.s64 %d3, %d1, %d3; st.global.u32 [%d3], %w6;
  MINE:
    mad.lo.u32 %w7, %w0, 70, %w3;
    mul.wide.u32 %d4, %w7, 4; add.s64 %d4, %d2, %d4;
    red.global.add.u32 [%d4], 1;)",
                                    3);
  std::vector<u32> orders[2];
  for (const u64 seed : {1u, 2u}) {
    Bench bench;
    bench.options.seed = seed;
    bench.launch.grid[0] = 5;
    bench.launch.grid[1] = 3;
    bench.launch.block[0] = 35;
    bench.launch.block[1] = 2;
    const u64 ticket = bench.words(1), out = bench.words(15), counts = bench.words(15 * 70);
    bench.run(ptx, {ticket, out, counts});
    CHECK(bench.read(counts, 15 * 70) == std::vector<u32>(15 * 70, 1));
    std::vector<u32> order = bench.read(out, 15);
    orders[seed - 1] = order;
    std::sort(order.begin(), order.end());
    for (u32 k = 0; k < 15; ++k) CHECK(order[k] == k);
  }
  CHECK(orders[0] != orders[1]);
}

TEST_CASE("parameters have the offsets of the ABI") {
  const Module module(R"(.version 9.0
.target sm_80
.address_size 64
.entry k(.param .u8 a, .param .align 16 .b8 b[20], .param .u16 c, .param .f64 d)
.maxntid 64, 2
{
  .shared .align 8 .b8 s[24];
  .reg .b32 %r<4>;
  ret;
})");
  const KernelInfo& kernel = info(*module.find("k"));
  CHECK(kernel.name == "k");
  CHECK(kernel.parameter_offsets == std::vector<std::size_t>{0, 16, 36, 40});
  CHECK(kernel.parameter_sizes == std::vector<std::size_t>{1, 20, 2, 8});
  CHECK(kernel.parameter_bytes == 48);
  CHECK(kernel.static_shared_bytes == 24);
  CHECK(kernel.max_threads == 128);
  CHECK(module.find("other") == nullptr);
}

TEST_CASE("a launch beyond a limit is refused") {
  const auto kind = [](auto&& change, const std::string& directives = "",
                       const std::string& body = "") {
    Bench bench;
    change(bench);
    return fault_of([&] { bench.run(module_of(body, 0, directives)); });
  };
  CHECK(kind([](Bench&) {}).empty());
  CHECK(kind([](Bench& b) { b.launch.block[0] = 1024; }).empty());
  CHECK(kind([](Bench& b) { b.launch.block[0] = 1025; }) == "too-many-threads");
  CHECK(kind([](Bench& b) { b.launch.block[1] = 33; }) == "too-many-threads");
  CHECK(kind([](Bench& b) { b.launch.block[2] = 65; }) == "too-many-threads");
  CHECK(kind([](Bench& b) { b.launch.block[0] = 65; }, ".maxntid 64") == "too-many-threads");
  CHECK(kind([](Bench& b) { b.launch.block[0] = 64; }, ".maxntid 64").empty());
  CHECK(kind([](Bench&) {}, ".reqntid 64") == "too-many-threads");
  CHECK(kind([](Bench& b) { b.launch.grid[0] = 0; }) == "invalid-grid");
  CHECK(kind([](Bench& b) { b.launch.grid[1] = 65536; }) == "invalid-grid");
  CHECK(kind([](Bench& b) { b.launch.grid[0] = 0x80000000; }) == "invalid-grid");
  const std::string fixed = ".shared .b8 s[1024];";
  CHECK(kind([](Bench& b) { b.launch.dynamic_shared_bytes = 47 << 10; }, "", fixed).empty());
  CHECK(kind([](Bench& b) { b.launch.dynamic_shared_bytes = 48 << 10; }, "", fixed) ==
        "too-much-shared");
  const auto opted = [](std::size_t allowed, std::size_t wanted) {
    return [=](Bench& b) {
      b.launch.allowed_dynamic_shared_bytes = allowed;
      b.launch.dynamic_shared_bytes = wanted;
    };
  };
  CHECK(kind(opted(100 << 10, 100 << 10), "", fixed).empty());
  CHECK(kind(opted(100 << 10, (100 << 10) + 1), "", fixed) == "too-much-shared");
  CHECK(kind(opted(227 << 10, 227 << 10), "", fixed) == "too-much-shared");
  CHECK(kind(opted(227 << 10, 226 << 10), "", fixed).empty());
}

TEST_CASE("a launch with the wrong number of parameter bytes is refused") {
  Bench bench;
  CHECK(fault_of([&] { bench.run(module_of("", 1), {1}); }).empty());
  CHECK(fault_of([&] { bench.run(module_of("", 1), {1, 2}); }) == "invalid-parameters");
}

TEST_CASE("DeviceModel::of finds the model of a compute capability") {
  CHECK(DeviceModel::of(7, 5).shared_optin_bytes == 64 << 10);
  CHECK(DeviceModel::of(8, 0).multiprocessors == 108);
  CHECK(DeviceModel::of(9, 0).major == 9);
  CHECK(DeviceModel::of(8, 6).shared_optin_bytes == 99 << 10);
  CHECK(DeviceModel::of(8, 7).shared_optin_bytes == 163 << 10);
  CHECK(DeviceModel::of(11, 0).shared_optin_bytes == 227 << 10);
  CHECK(DeviceModel::of(15, 0).shared_optin_bytes == 99 << 10);
  CHECK(DeviceModel::of(15, 0).major == 15);
  CHECK_THROWS_AS(DeviceModel::of(6, 1), std::invalid_argument);
}

}  // namespace
}  // namespace cudasim::test
