// fold.h, and scalar against the contract written down a second time without its cleverness.

#include "fold.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "support.h"

namespace rmsnorm::test {
namespace {

// The halving tree as its definition says it.
float plain_halving(std::vector<float> values) {
  for (std::size_t s = values.size() / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

// Of sizes so different that each order of summing them gives another result.
std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(static_cast<std::int32_t>(random.bits()));
    values.push_back(random.once_in(3) ? value : value * 0x1p-9f);
  }
  return values;
}

TEST_CASE("halving_sum is the halving tree") {
  CHECK(halving_sum(random_values(1, 1).data(), 1) == random_values(1, 1)[0]);
  for (std::int64_t count = 1; count <= 4096; count *= 2) {
    CAPTURE(count);
    std::vector<float> values = random_values(count, 2);
    const float expected = plain_halving(values);
    CHECK(halving_sum(values.data(), count) == expected);
    CHECK(values[0] == expected);
  }
  float four[] = {1.0f, 0x1p25f, 1.0f, -0x1p25f};  // (1 + 1) + 0: neighbour first would lose the 1s
  CHECK(halving_sum(four, 4) == 2.0f);
}

TEST_CASE("sum_tiles is the halving tree over all tiles, however few it holds at a time") {
  for (const std::int64_t tiles :
       {1, 2, 3, 16, 17, 1000, 1024, 1025, 2048, 2049, 3000, 4097, 9999, 20000}) {
    CAPTURE(tiles);
    const std::vector<float> sums = random_values(tiles, 3);
    const std::int64_t padded = bit_ceil(tiles);
    std::vector<float> leaves = sums;
    leaves.resize(static_cast<std::size_t>(padded), 0.0f);

    std::vector<int> times(static_cast<std::size_t>(tiles));
    float buffer[kBufferedTiles];
    const auto fill = [&](std::int64_t first, std::int64_t stride, std::int64_t count, float* out) {
      REQUIRE(count <= kBufferedTiles);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto tile = static_cast<std::size_t>(first + i * stride);
        REQUIRE(tile < leaves.size());
        out[i] = leaves[tile];
        if (tile < times.size()) ++times[tile];
      }
    };
    CHECK(sum_tiles(padded, 0, 1, buffer, fill) == plain_halving(leaves));
    CHECK(times == std::vector<int>(times.size(), 1));
  }
}

TEST_CASE("row groups cover the rows, at most kMaxRowGroups of them") {
  Random random(4);
  std::vector<std::int64_t> counts{0, 1, 15, 16, 17, 8191, 8192, 8193, 16384, 16385, 1LL << 40};
  for (int i = 0; i < 200; ++i) counts.push_back(random.below(1 << (1 + i % 30)));
  for (const std::int64_t rows : counts) {
    CAPTURE(rows);
    const std::int64_t group = row_group_rows(rows);
    const std::int64_t groups = row_group_count(rows);
    CHECK(group >= kMinGroupRows);
    CHECK(bit_ceil(group) == group);
    CHECK(groups <= kMaxRowGroups);
    CHECK(groups * group >= rows);
    CHECK((groups - 1) * group < rows);
    // The smallest such groups.
    CHECK((group == kMinGroupRows || ceil_div(rows, group / 2) > kMaxRowGroups));
  }
}

// The value of a float32 matrix.
float at(const Matrix& matrix, std::int64_t r, std::int64_t j) {
  return std::bit_cast<float>(matrix.bits(r, j));
}

float plain_fold(const Matrix& a, const Matrix& b, std::int64_t row) {
  const std::int64_t tiles = tile_count(a.columns());
  std::vector<float> sums(static_cast<std::size_t>(bit_ceil(tiles)));
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    std::vector<float> accumulators(kAccumulators);
    for (std::int64_t j = 0; j < a.columns(); ++j) {
      if (j / kTileColumns != tile) continue;
      float& acc = accumulators[static_cast<std::size_t>(j % kAccumulators)];
      acc = std::fma(at(a, row, j), at(b, row, j), acc);
    }
    sums[static_cast<std::size_t>(tile)] = plain_halving(accumulators);
  }
  return plain_halving(sums);
}

TEST_CASE("scalar computes what fold.h says: y, rstd and dx") {
  for (const std::int64_t hidden_size : {1, 5, 64, 65, 256, 300, 700, 2049, 5125}) {
    const Problem problem{{7, hidden_size}, DType::kFloat32, WeightKind::kNone, {},
                          DType::kFloat32,  false,           Values::kFinite,   31};
    CAPTURE(hidden_size);
    const ForwardBuffers forward = expected_forward(problem);
    const BackwardBuffers backward = expected_backward(problem);
    const auto inverse_size = static_cast<float>(1.0 / static_cast<double>(hidden_size));
    int wrong = 0;
    const auto compare = [&](float found, float expected) {
      wrong += std::bit_cast<std::uint32_t>(found) != std::bit_cast<std::uint32_t>(expected);
    };
    for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
      const float mean = plain_fold(forward.x, forward.x, r) * inverse_size;
      const float rstd = 1.0f / std::sqrt(mean + static_cast<float>(problem.options.eps));
      const float c = plain_fold(backward.dy, backward.x, r) * rstd;
      const float cbar = c * inverse_size;
      compare(at(forward.rstd, 0, r), rstd);
      for (std::int64_t j = 0; j < hidden_size; ++j) {
        const float xhat = at(forward.x, r, j) * rstd;
        compare(at(forward.y, r, j), xhat);
        compare(at(backward.dx, r, j), rstd * std::fma(-xhat, cbar, at(backward.dy, r, j)));
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("scalar computes what fold.h says: dweight") {
  for (const std::int64_t rows : {1, 16, 17, 40, 200, 8200}) {
    const Problem problem{{rows, 3},       DType::kFloat32, WeightKind::kNone, {},
                          DType::kFloat32, false,           Values::kFinite,   32};
    CAPTURE(rows);
    const ForwardBuffers forward = expected_forward(problem);
    const BackwardBuffers backward = expected_backward(problem);
    const std::int64_t group_rows = row_group_rows(rows);
    for (std::int64_t j = 0; j < problem.shape.hidden_size; ++j) {
      std::vector<float> sums;
      for (std::int64_t r = 0; r < rows; ++r) {
        if (r % group_rows == 0) sums.push_back(0.0f);
        const float xhat = at(backward.x, r, j) * at(forward.rstd, 0, r);
        sums.back() = std::fma(at(backward.dy, r, j), xhat, sums.back());
      }
      CHECK(std::bit_cast<std::uint32_t>(neighbour_first(sums)) == backward.dweight.bits(0, j));
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
