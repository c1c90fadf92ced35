// Tests the report of a launch.
#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

LaunchReport report_of(const std::string& body, unsigned blocks = 1, unsigned threads = 32) {
  Bench bench;
  bench.options.count_traffic = true;
  bench.launch.grid[0] = blocks;
  bench.launch.block[0] = threads;
  const u64 in = bench.words(4096), out = bench.words(4096, false);
  return bench.run(module_of("ld.param.u64 %d0, [param0]; ld.param.u64 %d1, [param1];"
                             "mov.u32 %w0, %tid.x; mov.u32 %w1, %ctaid.x; mov.u32 %w2, %ntid.x;"
                             "mad.lo.u32 %w3, %w1, %w2, %w0;" +
                                 body,
                             2),
                   {in, out});
}

const std::string kVectors =
    "mul.wide.u32 %d2, %w3, 16; add.s64 %d3, %d0, %d2; add.s64 %d4, %d1, %d2;";

TEST_CASE("a coalesced copy touches each sector once") {
  const LaunchReport report = report_of(kVectors +
                                            "ld.global.v4.u32 {%w4, %w5, %w6, %w7}, [%d3];"
                                            "st.global.v4.u32 [%d4], {%w4, %w5, %w6, %w7};",
                                        4, 64);
  REQUIRE(report.buffers.size() == 2);
  const BufferTraffic& in = report.buffers[0];
  CHECK(in.bytes == 16384);
  CHECK(in.bytes_read == 4096);
  CHECK(in.bytes_written == 0);
  CHECK(in.read_sectors == 128);
  CHECK(in.written_sectors == 0);
  CHECK(in.read_requests == 8);
  CHECK(in.sectors_requested == 128);
  CHECK(in.accesses_by_width[4] == 256);
  const BufferTraffic& out = report.buffers[1];
  CHECK(out.bytes_written == 4096);
  CHECK(out.write_requests == 8);
  CHECK(out.written_sectors == 128);
  CHECK(out.bytes_read == 0);
  CHECK(report.kernel == "test");
  CHECK(report.barriers == 0);
}

TEST_CASE("repeated, strided and atomic accesses are counted") {
  const std::string read = "ld.global.u32 %w4, [%d3];";
  const LaunchReport twice = report_of(kVectors + read + read);
  REQUIRE(twice.buffers.size() == 1);
  CHECK(twice.buffers[0].bytes_read == 256);
  CHECK(twice.buffers[0].read_sectors == 16);  // two lanes share a sector: the stride is 16 bytes
  CHECK(twice.buffers[0].sectors_requested == 32);
  CHECK(twice.buffers[0].accesses_by_width[2] == 64);
  const LaunchReport same = report_of("ld.global.u32 %w4, [%d0];");
  CHECK(same.buffers[0].sectors_requested == 1);
  CHECK(same.buffers[0].bytes_read == 128);
  const LaunchReport counter = report_of("red.global.add.u32 [%d0], 1;");
  CHECK(counter.buffers[0].read_requests == 1);
  CHECK(counter.buffers[0].write_requests == 1);
}

TEST_CASE("bank conflicts, barriers, shuffles and instructions are counted") {
  const auto wavefronts = [](const std::string& stride, const std::string& access) {
    const LaunchReport report =
        report_of(".shared .align 16 .b8 s[16384]; mul.lo.u32 %w4, %w0, " + stride + "; " + access);
    CHECK(report.shared_requests == 1);
    return report.shared_wavefronts;
  };
  CHECK(wavefronts("4", "st.shared.u32 [%w4], 0;") == 1);
  CHECK(wavefronts("8", "st.shared.u32 [%w4], 0;") == 2);
  CHECK(wavefronts("128", "st.shared.u32 [%w4], 0;") == 32);
  CHECK(wavefronts("132", "st.shared.u32 [%w4], 0;") == 1);
  CHECK(wavefronts("16", "st.shared.v4.u32 [%w4], {0, 0, 0, 0};") == 4);
  CHECK(wavefronts("8", "st.shared.v2.u32 [%w4], {0, 0};") == 2);
  CHECK(wavefronts("2", "st.shared.u16 [%w4], 0;") == 1);

  const LaunchReport report = report_of("bar.sync 0; bar.sync 0;", 3, 64);
  CHECK(report.barriers == 6);
  CHECK(report.warp_instructions == 3 * 2 * (6 + 2 + 1));
  CHECK(report_of("shfl.sync.idx.b32 %w4, %w0, 0, 31, -1;", 2, 96).shuffles == 6);
}

TEST_CASE("the work of each warp is reported for each span between barriers") {
  // Two warps; only one lane of the second warp stores.
  const LaunchReport report = report_of(
      ".shared .align 16 .b8 s[16]; ld.global.v4.u32 {%w4, %w5, %w6, %w7}, [%d0]; bar.sync 0;"
      "setp.eq.u32 %p0, %w0, 40; @%p0 st.shared.u32 [s], 0; @%p0 st.global.v2.u32 [%d1], {0, 0};"
      "shfl.sync.idx.b32 %w4, %w0, 0, 31, -1;",
      1, 64);
  CHECK(report.warps.size() == 2);
  std::int64_t stored = 0;
  for (const auto& [spans, count] : report.warps) {
    CHECK(count == 1);
    REQUIRE(spans.size() == 2);
    CHECK(spans[0].instructions == 6 + 2);
    CHECK(spans[0].global_loaded == 16);
    CHECK(spans[0].shared_stored + spans[0].global_stored + spans[0].shuffles == 0);
    CHECK(spans[1].instructions == 5);
    CHECK(spans[1].shuffles == 1);
    CHECK(spans[1].global_loaded + spans[1].shared_loaded == 0);
    CHECK(spans[1].global_stored == 2 * spans[1].shared_stored);
    stored += spans[1].shared_stored;
  }
  CHECK(stored == 4);
}

}  // namespace
}  // namespace cudasim::test
