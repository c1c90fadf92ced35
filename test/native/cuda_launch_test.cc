// The launches on device memory laid out by a caller: any alignment and stride, rows of any length,
// calls on some row groups. Results must have the bits of scalar. Runs on the first device; without
// one nothing runs.

#include "cuda/launch/launch.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

#include "cuda_launch_support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

constexpr WeightKind kWeights[] = {WeightKind::kSame, WeightKind::kFloat32, WeightKind::kNone};

// Checks forward and backward. The seed decides whether backward recomputes rstd or reads a stored
// one.
void check(Gpu& gpu, const Problem& problem, const Placements& placements = {}) {
  const bool has_rstd = problem.seed % 2 == 1;
  INFO(describe(problem));
  CHECK(forward_complaint(gpu, problem, {}, placements) == "");
  CHECK(backward_complaint(gpu, problem, {.has_rstd = has_rstd}, placements) == "");
}

TEST_CASE("cuda launch: arrays of any alignment equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const WeightKind weight : {WeightKind::kSame, WeightKind::kFloat32}) {
      for (const std::int64_t offset : {1, 2, 3, 4, 5, 8}) {
        const Placement moved{offset, 0};
        for (const Placements& placements : {
                 Placements{.dy = moved},
                 Placements{.x = moved},
                 Placements{.weight = moved},
                 Placements{.rstd = moved, .dweight = moved},
                 Placements{.out = moved},
                 Placements{.residual = moved},
                 Placements{.sum_out = moved},
                 Placements{moved, moved, moved, moved, moved, moved, moved, moved},
                 Placements{.dy = {8, 0}, .x = moved, .weight = {1, 0}, .out = {4, 0}},
             }) {
          INFO("offset " << offset << ", dy " << placements.dy.offset << ", x "
                         << placements.x.offset << ", weight " << placements.weight.offset
                         << ", out " << placements.out.offset << ", residual "
                         << placements.residual.offset << " and " << placements.sum_out.offset);
          Problem problem = problem_of({3, 264}, dtype, weight, seed++);
          problem.residual |= placements.residual.offset + placements.sum_out.offset > 0;
          check(gpu, problem, placements);
        }
      }
    }
  }
}

TEST_CASE("cuda launch: padding between rows stays untouched") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {24, 257, 512, 5128, 20000}) {
      for (const std::int64_t padding : {1, 2, 4, 8, 40}) {
        for (const Placements& placements : {
                 Placements{.dy = {0, padding}, .x = {0, padding}, .out = {0, padding}},
                 Placements{.dy = {0, padding}, .x = {0, 16}, .out = {padding, 2 * padding}},
             }) {
          INFO("padding " << padding << ", dy " << placements.dy.padding << ", x "
                          << placements.x.padding << ", out " << placements.out.padding);
          const Shape shape{hidden_size > 5000 ? 2 : 5, hidden_size};
          check(gpu, problem_of(shape, dtype, kWeights[seed % 3], seed), placements);
          ++seed;
        }
      }
    }
  }
}

// Heads of several tensors that lie in one: batches of any number of rows, on 16-byte boundaries
// and off them.
TEST_CASE("cuda launch: memory between batches of rows stays untouched") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {24, 128, 257, 1024, 5128, 20000}) {
      for (const std::int64_t batch_rows : {1, 2, 3, 5, 8}) {
        const Placement batches{0, 0, batch_rows, 2 * hidden_size};
        const Placement others{0, 8, 4, 24};
        const Placement off{1, 3, batch_rows, 5};
        for (const Placements& placements : {
                 Placements{batches, batches, {}, {}, batches, {}, batches, batches},
                 Placements{.x = batches, .residual = others},
                 Placements{.dy = batches, .out = batches, .sum_out = others},
                 Placements{off, others, {}, {}, off, {}, batches, off},
             }) {
          INFO("batches of " << batch_rows << ", dy " << placements.dy.batch_rows << ", x "
                             << placements.x.batch_rows << ", out " << placements.out.batch_rows
                             << ", residual " << placements.residual.batch_rows << " and "
                             << placements.sum_out.batch_rows);
          const Shape shape{hidden_size > 2000 ? 7 : 21, hidden_size};
          Problem problem = problem_of(shape, dtype, kWeights[seed % 3], seed);
          problem.residual = seed % 2 == 0;
          check(gpu, problem, placements);
          ++seed;
        }
      }
    }
  }
}

TEST_CASE("cuda launch: short rows equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (std::int64_t hidden_size = 1; hidden_size <= 256; ++hidden_size) {
    const std::int64_t rows = hidden_size % 64 == 0 ? 50 : 1 + hidden_size % 5;
    for (const DType dtype : kDTypes) {
      for (const WeightKind weight : kWeights) {
        check(gpu, problem_of({rows, hidden_size}, dtype, weight, hidden_size));
      }
    }
  }
}

TEST_CASE("cuda launch: rows of every kernel's length equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (const std::int64_t hidden_size : {500, 769, 1000, 2048, 2056, 4096, 4097, 5125, 5128, 8192,
                                         8200, 12000, 16384, 16392, 40000, 70000}) {
    const std::int64_t rows = hidden_size <= 1000 ? 18 : hidden_size <= 4096 ? 5 : 2;
    for (const DType dtype : kDTypes) {
      for (const WeightKind weight : kWeights) {
        check(gpu, problem_of({rows, hidden_size}, dtype, weight, hidden_size % 7 + rows));
      }
    }
  }
}

void check_vanishing(Gpu& gpu, std::initializer_list<std::int64_t> hidden_sizes) {
  for (const std::int64_t hidden_size : hidden_sizes) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      for (const float weight_offset : {0.0f, 1.0f}) {
        Problem problem = problem_of({2, hidden_size}, dtype, WeightKind::kSame, hidden_size);
        problem.values = Values::kVanishing;
        problem.options.weight_offset = weight_offset;
        check(gpu, problem);
      }
    }
  }
}

TEST_CASE("cuda launch: row sums of -0 equal scalar in rows that fill their accumulators") {
  Gpu gpu;
  if (gpu.is_there()) check_vanishing(gpu, {64, 256, 1024, 8192, 65536});
}

// A kernel that adds +0 for missing columns makes these sums +0.
TEST_CASE("cuda launch: row sums of -0 equal scalar in rows that end before their accumulators") {
  Gpu gpu;
  if (gpu.is_there()) check_vanishing(gpu, {65, 100, 500, 1000, 4090, 8184, 16380, 65500});
}

// Rows whose sums overflow or vanish share warps and blocks with ordinary rows.
TEST_CASE("cuda launch: rows that need the rescaled pass equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size :
         {1, 40, 64, 256, 300, 1000, 1024, 2056, 4096, 5128, 8192, 16384, 20000, 70000}) {
      const std::int64_t rows = hidden_size <= 300 ? 70 : hidden_size <= 4096 ? 18 : 3;
      for (const double eps : {0.0, 1e-30, 1e-6}) {
        Problem problem = problem_of({rows, hidden_size}, dtype, kWeights[seed % 3], seed);
        problem.values = Values::kExtreme;
        problem.options.eps = eps;
        INFO(describe(problem));
        CHECK(forward_complaint(gpu, problem) == "");
        for (const bool has_rstd : {false, true}) {
          CHECK(backward_complaint(gpu, problem, {.has_rstd = has_rstd}) == "");
        }
        CHECK(forward_complaint(gpu, problem, {.in_place = InPlace::kX}) == "");
        CHECK(backward_complaint(gpu, problem, {.in_place = InPlace::kX}) == "");
        ++seed;
      }
    }
  }
}

TEST_CASE("cuda launch: outputs may overwrite inputs, and only requested outputs are written") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {100, 1024, 5128, 20000}) {
      const Shape shape{hidden_size > 5000 ? 2 : 6, hidden_size};
      const Problem problem = problem_of(shape, dtype, kWeights[seed % 3], seed);
      Problem summed = problem;
      summed.residual = true;
      ++seed;
      INFO(describe(problem));
      for (const Placement placement : {Placement{}, Placement{3, 5}}) {
        const Placements placements{.dy = placement,
                                    .x = placement,
                                    .out = placement,
                                    .residual = placement,
                                    .sum_out = placement};
        CHECK(forward_complaint(gpu, problem, {.in_place = InPlace::kX}, placements) == "");
        for (const Layout& layout : {
                 Layout{.in_place = InPlace::kX, .sum_in_place = InPlace::kResidual},
                 Layout{.in_place = InPlace::kResidual, .sum_in_place = InPlace::kX},
                 Layout{.sum_in_place = InPlace::kX},
                 Layout{.in_place = InPlace::kResidual},
             }) {
          INFO(describe(layout));
          CHECK(forward_complaint(gpu, summed, layout, placements) == "");
        }
        for (const Layout& layout : {
                 Layout{.in_place = InPlace::kResidual},
                 Layout{.in_place = InPlace::kResidual, .has_rstd = true, .dweight = false},
                 Layout{.in_place = InPlace::kX},
             }) {
          INFO(describe(layout));
          CHECK(backward_complaint(gpu, summed, layout, placements) == "");
        }
        for (const Layout& layout : {
                 Layout{.in_place = InPlace::kX},
                 Layout{.in_place = InPlace::kDy, .has_rstd = true},
                 Layout{.in_place = InPlace::kX, .has_rstd = true, .dweight = false},
                 Layout{.in_place = InPlace::kDy, .dweight = false},
                 Layout{.dx = false},
             }) {
          INFO(describe(layout));
          CHECK(backward_complaint(gpu, problem, layout, placements) == "");
        }
      }
    }
  }
}

// Two calls must leave the partial rows of one, because both are compared with scalar's.
TEST_CASE("cuda launch: calls on whole row groups leave the partial rows of one call") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {64, 1000, 4096, 5128, 20000}) {
      const Shape shape{hidden_size > 4096 ? 33 : 70, hidden_size};
      const Problem problem = problem_of(shape, dtype, kWeights[seed % 3], seed);
      ++seed;
      INFO(describe(problem));
      for (const Cut cut : {Cut{}, Cut{16, 32}, Cut{32, 32}, Cut{64, 64}}) {
        if (cut.first_rows > shape.rows) continue;
        INFO("groups of " << cut.group_rows << ", first call of " << cut.first_rows);
        CHECK(backward_complaint(gpu, problem, {}, {}, cut) == "");
      }
    }
  }
}

TEST_CASE("cuda launch: reduce_dweight takes any groups, dtypes and accumulate") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  constexpr std::int64_t kColumns = 37;
  Matrix partial_rows(DType::kFloat32, kMaxRowGroups, cuda::partial_row_floats(kColumns));
  Random random(1);
  for (std::int64_t group = 0; group < partial_rows.rows(); ++group) {
    for (std::int64_t j = 0; j < kColumns; ++j) {
      partial_rows.set(group, j, static_cast<float>(random.below(1 << 24) - (1 << 23)) * 0x1p-12f);
    }
  }
  const DeviceMatrix partials(gpu, partial_rows);
  for (const std::int64_t groups : {0,  1,  2,  3,  4,  5,  7,   8,   9,   15,  16,  17,  31, 32,
                                    33, 63, 64, 65, 96, 97, 127, 128, 129, 255, 257, 511, 512}) {
    for (const DType dtype : kDTypes) {
      for (const bool accumulate : {false, true}) {
        INFO(groups << " groups, dtype " << static_cast<int>(dtype) << ", accumulate "
                    << accumulate);
        Matrix dweight(dtype, 1, kColumns);
        Matrix expected(dtype, 1, kColumns);
        for (std::int64_t j = 0; j < kColumns; ++j) {
          const float before = static_cast<float>(random.below(200)) * 0.25f;  // always exact
          std::vector<float> values;
          for (std::int64_t group = 0; group < groups; ++group) {
            values.push_back(static_cast<float>(partial_rows.value(group, j)));
          }
          const float sum = neighbour_first(values);
          dweight.set(0, j, before);
          expected.set(0, j, accumulate ? before + sum : sum);
        }
        DeviceMatrix on_device(gpu, dweight, {groups % 3, 0});
        BackwardArgs args{};
        args.shape = {0, kColumns};
        args.dweight = on_device.row(0);
        args.dweight_dtype = dtype;
        args.accumulate = accumulate;
        must(cuda::launch_reduce_dweight(gpu.device(), args, partials.address(0), groups,
                                         gpu.stream().get()));
        CHECK(on_device.copy_back("dweight") == "");
        CHECK(difference(expected, dweight, Values::kFinite) == "");
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
