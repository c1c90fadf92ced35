// Rows with a gate on a device, through the launches and over host arrays. Results must have the
// bits of scalar. Without a device nothing runs.
#include <doctest/doctest.h>

#include <string>

#include "cuda/host/backend.h"
#include "cuda/launch/launch.h"
#include "cuda_launch_support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
constexpr DType kCodes[] = {DType::kInt8, DType::kFloat8E4M3, DType::kFloat8E5M2};
constexpr WeightKind kWeights[] = {WeightKind::kSame, WeightKind::kFloat32, WeightKind::kNone};
constexpr GateOrder kOrders[] = {GateOrder::kAfterNorm, GateOrder::kBeforeNorm};

Problem gated(Problem problem, GateOrder order) {
  problem.gate = true;
  problem.options.gate_order = order;
  return problem;
}

// Checks forward and backward. The seed decides whether backward recomputes rstd or reads a stored
// one.
void check(Gpu& gpu, const Problem& problem, const Placements& placements = {}) {
  INFO(describe(problem));
  CHECK(forward_complaint(gpu, problem, {}, placements) == "");
  const Layout layout{.has_rstd = problem.seed / 2 % 2 == 1};
  CHECK(backward_complaint(gpu, problem, layout, placements) == "");
}

TEST_CASE("cuda gate: rows of every kernel's length equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const std::int64_t hidden_size :
       {1, 7, 33, 64, 100, 128, 256, 257, 512, 1000, 4096, 5125, 8192, 8200, 16384, 70001}) {
    const std::int64_t rows = hidden_size <= 257 ? 37 : hidden_size <= 1000 ? 10 : 2;
    for (const DType dtype : kDTypes) {
      for (const WeightKind weight : kWeights) {
        for (const GateOrder order : kOrders) {
          check(gpu, gated(problem_of({rows, hidden_size}, dtype, weight, seed), order));
          ++seed;
        }
      }
    }
  }
}

TEST_CASE("cuda gate: short rows equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (std::int64_t hidden_size = 1; hidden_size <= 140; ++hidden_size) {
    for (const DType dtype : kDTypes) {
      const std::int64_t seed = 3 * hidden_size + static_cast<std::int64_t>(dtype);
      const Shape shape{1 + hidden_size % 5, hidden_size};
      check(gpu, gated(problem_of(shape, dtype, kWeights[seed % 3], seed), kOrders[seed / 2 % 2]));
    }
  }
}

TEST_CASE("cuda gate: rows with any alignment, padding and batches equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {264, 20000}) {
      for (const std::int64_t offset : {1, 2, 4, 8}) {
        const Placement moved{offset, 0};
        const Placement apart{0, offset};
        const Placement batches{0, 8, 3, 2 * offset};
        for (const Placements& placements : {
                 Placements{.gate = moved},
                 Placements{.dgate = moved},
                 Placements{.gate = apart, .dgate = apart},
                 Placements{.x = moved, .gate = {8, 16}, .dgate = {8, 0}},
                 Placements{.gate = batches, .dgate = apart},
                 Placements{.dy = batches, .x = batches, .out = batches, .dgate = batches},
             }) {
          INFO("offset " << offset << ", gate " << placements.gate.offset << " and "
                         << placements.gate.padding << ", dgate " << placements.dgate.offset
                         << " and " << placements.dgate.padding);
          const Shape shape{hidden_size > 5000 ? 4 : 7, hidden_size};
          const Problem problem = problem_of(shape, dtype, kWeights[seed % 3], seed);
          check(gpu, gated(problem, kOrders[seed % 2]), placements);
          ++seed;
        }
      }
    }
  }
}

// Rows whose sums overflow or vanish, and rows with NaN, share warps and blocks with ordinary rows.
TEST_CASE(
    "cuda gate: rescaled rows, NaN, infinity and results near the smallest normal equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {1, 40, 64, 300, 1024, 5128, 20000}) {
      const std::int64_t rows = hidden_size <= 300 ? 40 : hidden_size <= 1024 ? 12 : 3;
      for (const double eps : {0.0, 1e-30, 1e-6}) {
        for (const Values values : {Values::kExtreme, Values::kSpecial, Values::kThreshold}) {
          const GateOrder order = kOrders[seed % 2];
          Problem problem =
              gated(problem_of({rows, hidden_size}, dtype, kWeights[seed % 3], seed), order);
          problem.values = values;
          // Rows of zeros would be NaN without an eps.
          if (values != Values::kThreshold) problem.options.eps = eps;
          check(gpu, problem);
          ++seed;
        }
      }
    }
  }
}

TEST_CASE("cuda gate: outputs may overwrite inputs, and only requested outputs are written") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {100, 1024, 20000}) {
      for (const GateOrder order : kOrders) {
        const Shape shape{hidden_size > 5000 ? 2 : 6, hidden_size};
        const Problem problem = gated(problem_of(shape, dtype, kWeights[seed % 3], seed), order);
        Problem summed = problem;
        summed.residual = true;
        ++seed;
        INFO(describe(problem));
        CHECK(forward_complaint(gpu, problem, {.in_place = InPlace::kX}) == "");
        for (const Layout& layout : {
                 Layout{.in_place = InPlace::kX, .sum_in_place = InPlace::kResidual},
                 Layout{.in_place = InPlace::kResidual, .sum_in_place = InPlace::kX},
             }) {
          INFO(describe(layout));
          CHECK(forward_complaint(gpu, summed, layout) == "");
        }
        for (const Layout& layout : {
                 Layout{.in_place = InPlace::kX, .dgate_in_place = true},
                 Layout{.in_place = InPlace::kDy, .has_rstd = true},
                 Layout{.dgate_in_place = true},
                 Layout{.has_rstd = true, .dweight = false, .dgate_in_place = true},
                 Layout{.dx = false},
                 Layout{.has_rstd = true, .dx = false},
             }) {
          INFO(describe(layout));
          CHECK(backward_complaint(gpu, problem, layout) == "");
        }
        const Layout over_dsum{.in_place = InPlace::kResidual, .dgate_in_place = true};
        CHECK(backward_complaint(gpu, summed, over_dsum) == "");
      }
    }
  }
}

TEST_CASE("cuda gate: calls on whole row groups leave the partial rows of one call") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {64, 1000, 5128}) {
      for (const Cut cut : {Cut{}, Cut{16, 16}, Cut{32, 32}}) {
        const Problem problem = gated(problem_of({hidden_size > 4096 ? 33 : 70, hidden_size}, dtype,
                                                 kWeights[seed % 3], seed),
                                      kOrders[seed % 2]);
        ++seed;
        INFO(describe(problem) << ", groups of " << cut.group_rows);
        CHECK(backward_complaint(gpu, problem, {}, {}, cut) == "");
      }
    }
  }
}

TEST_CASE("cuda gate: codes and scales equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {1, 7, 64, 100, 1000, 4096, 5125, 20000}) {
      for (const GateOrder order : kOrders) {
        const Shape shape{hidden_size > 1000 ? 3 : 9, hidden_size};
        const Problem problem = gated(problem_of(shape, dtype, kWeights[seed % 3], seed), order);
        const Quantization quantization{.codes = kCodes[seed % 3],
                                        .scale = seed % 5 == 0 ? 0.02f : 0.0f};
        ++seed;
        INFO(describe(problem) << ", codes " << static_cast<int>(quantization.codes) << ", scale "
                               << quantization.scale);
        ForwardBuffers buffers(problem, {});
        Matrix codes(quantization.codes, shape.rows, hidden_size);
        Matrix scales(DType::kFloat32, 1, shape.rows);
        Matrix expected_codes(quantization.codes, shape.rows, hidden_size);
        Matrix expected_scales(DType::kFloat32, 1, shape.rows);
        ForwardArgs expected = buffers.args;
        expected.quantization = quantization;
        expected.y = expected_codes;
        expected.rstd = nullptr;
        ForwardArgs args = expected;
        args.y = codes;
        if (quantization.scale == 0) {
          expected.scales = static_cast<float*>(expected_scales.row(0));
          args.scales = static_cast<float*>(scales.row(0));
        }
        cpu::kScalar.forward(expected, {0, shape.rows}, cpu::Stores::kCached, nullptr);
        must(cuda::forward(0, args));
        CHECK(difference(expected_codes, codes, Values::kFinite) == "");
        CHECK(difference(expected_scales, scales, Values::kSpecial) == "");
      }
    }
  }
}

TEST_CASE("cuda gate: host arrays in chunks equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const Shape shape : {Shape{0, 9}, Shape{70, 100}, Shape{1000, 1000}, Shape{3, 20000}}) {
      for (const GateOrder order : kOrders) {
        for (const Layout& layout : {
                 Layout{.padding = 3, .misaligned = 1, .misaligned_out = 2},
                 Layout{.in_place = InPlace::kX,
                 .batch_rows = 4,
                 .batch_padding = 7,
                 .dgate_in_place = true},
                 Layout{.has_rstd = true, .dx = false},
             }) {
          const Problem problem = gated(problem_of(shape, dtype, kWeights[seed % 3], seed), order);
          ++seed;
          INFO(describe(problem) << "; " << describe(layout));
          ForwardBuffers forward(problem, layout);
          must(cuda::forward(0, forward.args));
          CHECK(complaint(problem, layout, expected_forward(problem), forward) == "");
          BackwardBuffers backward(problem, layout);
          must(cuda::backward(0, backward.args));
          CHECK(complaint(problem, layout, expected_backward(problem), backward) == "");
        }
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
