// Compares nvcc's PTX, for two architectures, with the same arithmetic in C++.
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "kernel_test_support.h"

namespace cudasim::test {
namespace {

// The same as in fixtures/rms_rows.cu.
struct Params {
  u64 x, weight, y;
  int hidden_size;
  float eps;
};

constexpr int kThreads = 64, kRows = 5;

std::string fixture(const std::string& name) {
  std::ifstream file(std::string(CUDASIM_FIXTURES) + "/" + name);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<BFloat> rows_of(int hidden_size) {
  std::vector<BFloat> values;
  for (int k = 0; k < kRows * hidden_size; ++k) {
    const auto random = static_cast<s32>(scrambled(static_cast<u64>(k)));
    values.push_back(narrow<BFloat>(static_cast<float>(random) * 0x1p-30f));
  }
  return values;
}

float weight_of(int column) { return 0.5f + static_cast<float>(column % 7); }

float fold(const BFloat* row, int hidden_size) {
  std::vector<float> sums(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    float& sum = sums[static_cast<std::size_t>(thread)];
    for (int begin = 8 * thread; begin < hidden_size; begin += 8 * kThreads) {
      for (int column = begin; column < begin + 8; ++column) {
        sum = std::fma(to_float(row[column]), to_float(row[column]), sum);
      }
    }
  }
  for (std::size_t warp = 0; warp < 2; ++warp) {
    for (std::size_t offset = 16; offset > 0; offset /= 2) {
      for (std::size_t lane = 0; lane < offset; ++lane) {
        sums[32 * warp + lane] += sums[32 * warp + lane + offset];
      }
    }
  }
  return sums[0] + sums[32];
}

std::vector<u16> expected(const std::vector<BFloat>& x, int hidden_size, float eps) {
  std::vector<u16> y;
  for (int row = 0; row < kRows; ++row) {
    const BFloat* values = x.data() + row * hidden_size;
    const float mean = fold(values, hidden_size) / static_cast<float>(hidden_size);
    const float rstd = 1.0f / std::sqrt(mean + eps);
    for (int column = 0; column < hidden_size; ++column) {
      const float xhat = to_float(values[column]) * rstd;
      y.push_back(narrow<BFloat>(xhat * weight_of(column)).bits);
    }
  }
  return y;
}

TEST_CASE("a norm compiled by nvcc has the bits of the same norm in C++") {
  for (const char* name : {"rms_rows.sm_75.ptx", "rms_rows.sm_90.ptx"}) {
    for (const int hidden_size : {8, 504, 512, 1000, 4096}) {
      CAPTURE(name);
      CAPTURE(hidden_size);
      const Module module(fixture(name));
      const std::vector<BFloat> x = rows_of(hidden_size);
      std::vector<float> weight;
      for (int column = 0; column < hidden_size; ++column) weight.push_back(weight_of(column));

      Bench bench;
      const std::size_t bytes = 2 * x.size();
      Params params{bench.memory.allocate(bytes), bench.memory.allocate(4 * weight.size()),
                    bench.memory.allocate(bytes), hidden_size, 1e-6f};
      bench.memory.write(params.x, x.data(), bytes);
      bench.memory.write(params.weight, weight.data(), 4 * weight.size());
      Launch launch;
      launch.grid[0] = kRows;
      launch.block[0] = kThreads;
      launch.parameters.resize(sizeof params);
      std::memcpy(launch.parameters.data(), &params, sizeof params);
      bench.options.count_traffic = true;
      const LaunchReport report =
          execute(*module.find("rms_rows"), launch, bench.device, bench.memory, bench.options);

      std::vector<u16> y(x.size());
      bench.memory.read(params.y, y.data(), bytes);
      CHECK(y == expected(x, hidden_size, params.eps));
      CHECK(report.barriers == kRows);
      CHECK(report.shuffles == kRows * 2 * 5);
      REQUIRE(report.buffers.size() == 3);
      CHECK(report.buffers[0].accesses_by_width[4] == kRows * hidden_size / 8);
      CHECK(report.buffers[0].accesses_by_width[1] == kRows * hidden_size);
      CHECK(report.buffers[2].bytes_written == static_cast<std::int64_t>(bytes));
    }
  }
}

}  // namespace
}  // namespace cudasim::test
