// Every variant against scalar, bit for bit. Each combination of types, cast order and weight
// offset meets each hidden size and each number of rows. Everything else is drawn at random, the
// same in every run.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "variants_support.h"

namespace rmsnorm::test {
namespace {

constexpr std::int64_t kHiddenSizes[] = {
    1,   2,   7,   8,   9,   15,  16,  17,  31,  33,   63,   64,   65,   100,  111,  127,
    128, 129, 255, 256, 257, 300, 500, 512, 769, 1000, 1024, 2048, 2049, 4096, 5125, 70000};
// More tiles than kBufferedTiles of fold.h.
constexpr std::int64_t kHugeHiddenSize = 300000;
static_assert(tile_count(kHugeHiddenSize) > kBufferedTiles);

constexpr std::int64_t kRows[] = {0, 1, 3, 8, 9, 16, 17, 33, 40, 16 * 70};
constexpr std::int64_t kMaxElements = 10080;  // 1120 rows of 9

void check_dtype(DType dtype) {
  Random random(2019);
  std::uint64_t seed = 0;
  for_each_kind(dtype, [&](Problem problem) {
    const auto check_shape = [&](std::int64_t rows, std::int64_t hidden_size) {
      problem.shape = {rows, hidden_size};
      problem.options.eps = one_of(random, {1e-6f, 1e-5f, 0.25f});
      problem.dweight_dtype = random.once_in(2) ? computed_in(dtype) : dtype;
      problem.accumulate = random.once_in(2);
      problem.seed = ++seed;
      problem.residual = random.once_in(3);
      check(random, problem);
    };
    for (const std::int64_t hidden_size : kHiddenSizes) {
      std::int64_t rows = one_of(random, kRows);
      while (rows * hidden_size > std::max(kMaxElements, hidden_size)) rows = one_of(random, kRows);
      check_shape(rows, hidden_size);
    }
    // Rows so short that alignment and row ends leave few columns between them.
    for (int i = 0; i < 20; ++i) check_shape(1 + random.below(20), 1 + random.below(80));
    for (const std::int64_t rows : kRows) {
      std::int64_t hidden_size = one_of(random, kHiddenSizes);
      while (rows * hidden_size > kMaxElements) hidden_size = one_of(random, kHiddenSizes);
      check_shape(rows, hidden_size);
    }
  });
}

TEST_CASE("every variant equals scalar in float32") { check_dtype(DType::kFloat32); }
TEST_CASE("every variant equals scalar in float16") { check_dtype(DType::kFloat16); }
TEST_CASE("every variant equals scalar in bfloat16") { check_dtype(DType::kBFloat16); }

TEST_CASE("every variant equals scalar in float64") { check_dtype(DType::kFloat64); }

TEST_CASE("every variant equals scalar in rows of more tiles than the buffer holds") {
  Random random(1);
  for (const DType dtype : kDTypes) {
    for (const auto weight : {WeightKind::kNone, WeightKind::kSame}) {
      check(random, {{1, kHugeHiddenSize}, dtype, weight, {}, dtype, false, Values::kFinite, 11});
    }
  }
}

TEST_CASE("every variant equals scalar where row sums are -0") {
  Random random(2);
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const auto weight : {WeightKind::kNone, WeightKind::kSame, WeightKind::kFloat32}) {
      for (const std::int64_t hidden_size : {63, 64, 65, 70, 100, 127, 200, 256, 326, 600, 868}) {
        check(random, {{9, hidden_size}, dtype, weight, {}, dtype, false, Values::kVanishing, 12});
      }
    }
  }
}

TEST_CASE("every variant equals scalar near the smallest normal number") {
  Random random(4);
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for_each_kind(dtype, [&](Problem problem) {
      problem.values = Values::kThreshold;
      problem.dweight_dtype = problem.dtype;
      for (const std::int64_t hidden_size : {5, 16, 31, 32, 33, 64, 100, 128, 300, 2049, 5125}) {
        problem.shape = {one_of(random, {std::int64_t{1}, std::int64_t{5}, std::int64_t{37}}),
                         hidden_size};
        ++problem.seed;
        check(random, problem);
      }
    });
  }
}

TEST_CASE("every variant equals scalar in rows that need the rescaled pass") {
  Random random(5);
  for (const DType dtype : kDTypes) {
    for_each_kind(dtype, [&](Problem problem) {
      problem.values = Values::kExtreme;
      problem.dweight_dtype = problem.dtype;
      for (const std::int64_t hidden_size : {1, 9, 33, 64, 100, 256, 300, 769, 2049, 9000}) {
        problem.shape = {one_of(random, {std::int64_t{1}, std::int64_t{5}, std::int64_t{37}}),
                         hidden_size};
        problem.options.eps = one_of(random, {0.0, 0.0, 1e-6, 1e-40, 1e-320});
        problem.residual = random.once_in(4);
        ++problem.seed;
        check(random, problem);
      }
    });
  }
}

TEST_CASE("every variant equals scalar in rows with NaN and infinity") {
  Random random(3);
  for (const DType dtype : kDTypes) {
    for_each_kind(dtype, [&](Problem problem) {
      problem.values = Values::kSpecial;
      problem.dweight_dtype = problem.dtype;
      for (const std::int64_t hidden_size : {1, 9, 16, 100, 256, 300, 2049}) {
        problem.shape = {one_of(random, {std::int64_t{3}, std::int64_t{9}, std::int64_t{20}}),
                         hidden_size};
        problem.options.eps = random.once_in(2) ? 0.0f : 1e-6f;
        ++problem.seed;
        check(random, problem);
      }
    });
  }
}

TEST_CASE("NaN and infinity stay in their row") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : kDTypes) {
      for (const std::int64_t hidden_size : {5, 256, 700, 3000}) {
        Problem problem{{13, hidden_size}, dtype, WeightKind::kSame, {}, dtype, false,
                        Values::kFinite,   21};  // an odd seed: no special weights
        INFO(describe(*variant) << ": " << describe(problem));
        const Layout layout{.dweight = false};
        ForwardBuffers y(problem, layout);
        BackwardBuffers dx(problem, layout);
        problem.values = Values::kSpecial;
        ForwardBuffers special_y(problem, layout);
        BackwardBuffers special_dx(problem, layout);
        for (ForwardBuffers* buffers : {&y, &special_y}) {
          forward_with(*variant, buffers->args, layout);
        }
        for (BackwardBuffers* buffers : {&dx, &special_dx}) {
          backward_with(*variant, buffers->args, layout);
        }
        for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
          if (is_special(r)) continue;
          CHECK(std::memcmp(y.y.row(r), special_y.y.row(r), y.y.row_bytes()) == 0);
          CHECK(y.rstd.bits(0, r) == special_y.rstd.bits(0, r));
          CHECK(std::memcmp(dx.dx.row(r), special_dx.dx.row(r), dx.dx.row_bytes()) == 0);
        }
      }
    }
  }
}

// Each variant orders the columns of a row of partial sums in its own way. The order does not
// matter here, because all columns are equal.
TEST_CASE("every variant sums any number of partial rows neighbour first") {
  constexpr std::int64_t kColumns = 71;
  const std::int64_t stride = cpu::partial_stride(kColumns);
  for (const cpu::Variant* variant : supported_variants()) {
    for (std::int64_t count = 0; count <= 512; count += count < 70 ? 1 : 221) {
      for (const DType dtype : kDTypes) {
        CAPTURE(describe(*variant));
        CAPTURE(count);
        Random random(static_cast<std::uint64_t>(count));
        Matrix partials(computed_in(dtype), count, stride);
        std::vector<float> values;
        for (std::int64_t i = 0; i < count; ++i) {
          values.push_back(static_cast<float>(static_cast<std::int32_t>(random.bits())) * 0x1p-20f);
          for (std::int64_t j = 0; j < stride; ++j) partials.set(i, j, values.back());
        }
        Matrix expected(dtype, 1, kColumns);
        for (std::int64_t j = 0; j < kColumns; ++j) {
          const std::vector<double> wide(values.begin(), values.end());
          expected.set(0, j,
                       dtype == DType::kFloat64 ? neighbour_first(wide) : neighbour_first(values));
        }
        Matrix dweight(dtype, 1, kColumns);
        BackwardArgs args{};
        args.shape = {16 * count, kColumns};
        args.dtype = dtype;
        args.dweight = dweight.row(0);
        args.dweight_dtype = dtype;
        // The sums of a single group may already be in dweight, unless dweight accumulates.
        args.accumulate = count == 1;
        for (std::int64_t j = 0; j < kColumns; ++j) dweight.set(0, j, 0);
        variant->reduce_dweight(args, partials.row(0), count, {0, stride});
        CHECK(difference(expected, dweight, Values::kFinite) == "");
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
