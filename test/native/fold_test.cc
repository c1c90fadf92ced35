// fold.h: the order of sums, and the groups of rows.

#include "op/fold.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "op/formula.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

// The halving tree, straight from its definition.
float reference_halving_sum(std::vector<float> values) {
  for (std::size_t s = values.size() / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

// Magnitudes so different that each order of summing gives another result.
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
    const float expected = reference_halving_sum(values);
    CHECK(halving_sum(values.data(), count) == expected);
    CHECK(values[0] == expected);
  }
  float four[] = {1.0f, 0x1p25f, 1.0f, -0x1p25f};  // (1 + 1) + 0: neighbour first would lose the 1s
  CHECK(halving_sum(four, 4) == 2.0f);
}

TEST_CASE("sum_tiles is the halving tree over all tiles, however few the buffer holds at a time") {
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
    CHECK(sum_tiles(padded, 0, 1, buffer, fill) == reference_halving_sum(leaves));
    CHECK(times == std::vector<int>(times.size(), 1));
  }
}

TEST_CASE("neighbour_tree is the tree of dweight and visits the leaves from left to right") {
  for (int count = 1; count <= kMaxRowGroups; ++count) {
    CAPTURE(count);
    const std::vector<float> values = random_values(count, 5);
    int leaves = 0;
    const auto leaf = [&](int i) {
      CHECK(i == leaves++);
      return values[static_cast<std::size_t>(i)];
    };
    const auto add = [](float left, float right) { return left + right; };
    CHECK(neighbour_tree(count, leaf, add) == neighbour_first(values));
    CHECK(leaves == count);
  }
}

TEST_CASE("at most kMaxRowGroups row groups cover the rows") {
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
    // No smaller groups would do.
    CHECK((group == kMinGroupRows || ceil_div(rows, group / 2) > kMaxRowGroups));
  }
}

}  // namespace
}  // namespace rmsnorm::test
