// Quantised forward on a device: codes and scales against those computed here from scalar's y, for
// rows of any length and layout. Without a device nothing runs.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "cuda/host/backend.h"
#include "cuda/launch/launch.h"
#include "cuda_launch_support.h"
#include "op/quantize.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
constexpr DType kCodes[] = {DType::kInt8, DType::kFloat8E4M3, DType::kFloat8E5M2};
constexpr WeightKind kWeights[] = {WeightKind::kSame, WeightKind::kFloat32, WeightKind::kNone};

struct QuantizedProblem {
  Problem problem;
  Quantization quantization;
  bool has_scales = true;
};

// The quantisation varies with the seed, with periods that problem_of does not use.
QuantizedProblem quantized(const Problem& problem, std::int64_t seed) {
  constexpr float kScales[] = {0, 0, 0, 0.02f, 0, 0, 0x1p-126f, 0, 0, 0x1.3p100f, 0};
  Quantization quantization{.codes = kCodes[seed % 3], .scale = kScales[seed % 11]};
  if (seed % 13 == 5) quantization.scale_max = 0.003f;
  if (seed % 13 == 9) quantization.scale_max = 0x1p-130f;
  return {problem, quantization, quantization.scale == 0 && seed % 17 != 3};
}

std::string describe(const QuantizedProblem& quantized) {
  const Quantization& quantization = quantized.quantization;
  return describe(quantized.problem) + ", codes " +
         std::to_string(static_cast<int>(quantization.codes)) + ", scale " +
         std::to_string(quantization.scale) + " at most " + std::to_string(quantization.scale_max) +
         (quantized.has_scales ? ", scales" : "");
}

Matrix widened(const Matrix& matrix) {
  Matrix wide(DType::kFloat32, matrix.rows(), matrix.columns());
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (std::int64_t j = 0; j < matrix.columns(); ++j) wide.set(r, j, matrix.value(r, j));
  }
  return wide;
}

// The y that is quantised: scalar's y. If the cast order does not round it to 16 bits, the y of the
// same numbers as float32.
Matrix unrounded_y(const Problem& problem, const ForwardBuffers& expected) {
  const bool is_rounded =
      problem.dtype == DType::kFloat32 || problem.options.cast_order == CastOrder::kLlama;
  if (is_rounded) return widened(expected.y);
  const Matrix x = widened(problem.residual ? expected.sum_out : expected.x);
  const Matrix weight = widened(expected.weight);
  Matrix y(DType::kFloat32, x.rows(), x.columns());
  ForwardArgs args = expected.args;
  args.dtype = DType::kFloat32;
  args.x = x;
  args.y = y;
  args.residual = {};
  args.sum = {};
  args.rstd = nullptr;
  if (args.weight.data != nullptr) args.weight = {weight.row(0), DType::kFloat32};
  forward_with(cpu::kScalar, args, {.rows_per_call = 1});
  return y;
}

struct Results {
  explicit Results(const QuantizedProblem& quantized)
      : codes(quantized.quantization.codes, quantized.problem.shape.rows,
              quantized.problem.shape.hidden_size),
        scales(DType::kFloat32, quantized.has_scales ? 1 : 0, quantized.problem.shape.rows) {}

  Matrix codes;
  Matrix scales;
};

Results expected_results(const QuantizedProblem& quantized, const ForwardBuffers& expected) {
  const Quantization& quantization = quantized.quantization;
  const bool is_own = quantization.scale == 0;
  const Matrix y = unrounded_y(quantized.problem, expected);
  Results results(quantized);
  for (std::int64_t r = 0; r < y.rows(); ++r) {
    const auto* row = static_cast<const float*>(y.row(r));
    std::uint32_t largest = 0;
    for (std::int64_t j = 0; j < y.columns(); ++j) {
      largest = std::max(largest, magnitude_bits(row[j]));
    }
    const float scale = is_own ? scale_of(largest, quantization) : quantization.scale;
    if (quantized.has_scales) {
      std::memcpy(static_cast<float*>(results.scales.row(0)) + r, &scale, sizeof scale);
    }
    for (std::int64_t j = 0; j < y.columns(); ++j) {
      results.codes.set_bits(r, j, code_of(quantization.codes, quotient_of(row[j], scale, is_own)));
    }
  }
  return results;
}

// Describes how results differ from the expected ones. problem.values says whether scales may be
// NaN.
std::string complaint(const QuantizedProblem& quantized, const ForwardBuffers& actual,
                      const Results& results) {
  const ForwardBuffers expected = expected_forward(quantized.problem);
  const Results wanted = expected_results(quantized, expected);
  const Values values = quantized.problem.values;
  std::string text;
  const auto add = [&](const char* label, const std::string& found) {
    if (!found.empty()) text += std::string(label) + ": " + found + "; ";
  };
  add("codes", difference(wanted.codes, results.codes, Values::kFinite));
  add("scales", difference(wanted.scales, results.scales, values));
  add("rstd", difference(expected.rstd, actual.rstd, values));
  add("sum", difference(expected.sum_out, actual.sum_out, values));
  return text;
}

// Describes what is wrong with a launch on memory laid out by a caller; empty if nothing is.
std::string launch_complaint(Gpu& gpu, const QuantizedProblem& quantized,
                             const Places& places = {}) {
  const Problem& problem = quantized.problem;
  ForwardBuffers buffers(problem, {});
  Results results(quantized);
  DeviceMatrix x(gpu, buffers.x, places.x);
  DeviceMatrix weight(gpu, buffers.weight, places.weight);
  DeviceMatrix codes(gpu, results.codes, places.out);
  DeviceMatrix scales(gpu, results.scales, places.rstd);
  DeviceMatrix rstd(gpu, buffers.rstd, places.rstd);
  DeviceMatrix residual(gpu, buffers.residual, places.residual);
  DeviceMatrix sum(gpu, buffers.sum_out, places.sum_out);
  ForwardArgs args = buffers.args;
  args.x = x.const_rows_from(0);
  args.y = codes.rows_from(0);
  if (args.weight.data != nullptr) args.weight.data = weight.row(0);
  args.rstd = rstd.row(0);
  args.quantization = quantized.quantization;
  if (quantized.has_scales) args.scales = static_cast<float*>(scales.row(0));
  if (problem.residual) {
    args.residual = residual.const_rows_from(0);
    args.sum = sum.rows_from(0);
  }
  cuda::DeviceMemory workspace;
  must(workspace.allocate(cuda::forward_workspace_bytes(gpu.device(), args)));
  must(cuda::launch_forward(gpu.device(), args, workspace.get(), gpu.stream().get()));
  const std::string text = codes.take_back("codes") + scales.take_back("scales") +
                           rstd.take_back("rstd") + sum.take_back("sum");
  return text + complaint(quantized, buffers, results);
}

void check(Gpu& gpu, const QuantizedProblem& quantized, const Places& places = {}) {
  INFO(describe(quantized));
  CHECK(launch_complaint(gpu, quantized, places) == "");
}

TEST_CASE("cuda quantize: rows of every kernel's length equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const std::int64_t hidden_size :
       {1, 7, 33, 64, 100, 128, 256, 257, 1000, 4096, 5125, 8192, 16384, 70001}) {
    const std::int64_t rows = hidden_size <= 256 ? 37 : hidden_size <= 1000 ? 10 : 3;
    for (const DType dtype : kDTypes) {
      for (const WeightKind weight : kWeights) {
        for (int i = 0; i < (hidden_size < 5000 ? 3 : 1); ++i) {
          check(gpu, quantized(problem_of({rows, hidden_size}, dtype, weight, seed), seed));
          ++seed;
        }
      }
    }
  }
}

TEST_CASE("cuda quantize: short rows equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (std::int64_t hidden_size = 1; hidden_size <= 200; ++hidden_size) {
    for (const DType dtype : kDTypes) {
      const std::int64_t seed = 3 * hidden_size + static_cast<std::int64_t>(dtype);
      const Shape shape{1 + hidden_size % 5, hidden_size};
      check(gpu, quantized(problem_of(shape, dtype, kWeights[seed % 3], seed), seed));
    }
  }
}

TEST_CASE("cuda quantize: rows with any alignment, padding and batches equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {264, 5128, 20000}) {
      for (const std::int64_t offset : {1, 2, 4, 8, 12}) {
        const Place moved{offset, 0};
        for (const Places& places : {
                 Places{.x = moved},
                 Places{.weight = moved},
                 Places{.out = moved},
                 Places{.rstd = moved, .out = {0, offset}},
                 Places{.x = {offset, 4}, .out = {4, 8}, .residual = moved, .sum_out = moved},
                 Places{.x = {0, 8, 2, 16}, .out = {0, offset, 3, offset}},
             }) {
          INFO("offset " << offset << ", x " << places.x.offset << ", out " << places.out.offset
                         << " and " << places.out.padding);
          const Shape shape{hidden_size > 5000 ? 2 : 7, hidden_size};
          check(gpu, quantized(problem_of(shape, dtype, kWeights[seed % 3], seed), seed), places);
          ++seed;
        }
      }
    }
  }
}

// Rows of the smallest and largest numbers and of zeros share warps and blocks with ordinary rows.
TEST_CASE("cuda quantize: rows that must be rescaled before their division equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden_size : {1, 40, 64, 300, 1024, 4096, 5128, 16384, 70000}) {
      const std::int64_t rows = hidden_size <= 300 ? 70 : hidden_size <= 4096 ? 18 : 3;
      for (const double eps : {0.0, 1e-6, 1e30}) {
        for (const Values values : {Values::kExtreme, Values::kSpecial, Values::kThreshold}) {
          Problem problem = problem_of({rows, hidden_size}, dtype, kWeights[seed % 3], seed);
          problem.values = values;
          problem.options.eps = eps;
          check(gpu, quantized(problem, seed));
          ++seed;
        }
      }
    }
  }
}

// The rstd of these rows is infinite, and turns the zeros that stand for missing columns into NaN.
TEST_CASE("cuda quantize: missing columns do not affect rows whose rstd is infinite") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const std::int64_t hidden_size : {1, 3, 6, 8, 16, 24}) {
      Problem problem = problem_of({150, hidden_size}, dtype, WeightKind::kNone, hidden_size);
      problem.values = Values::kExtreme;
      problem.options.eps = 0;
      problem.residual = false;
      check(gpu, {problem, {.codes = kCodes[hidden_size % 3]}});
    }
  }
}

TEST_CASE("cuda quantize: host arrays in chunks equal scalar") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  std::int64_t seed = 0;
  for (const DType dtype : kDTypes) {
    for (const Shape shape : {Shape{70, 100}, Shape{5, 1024}, Shape{600, 4096}, Shape{3, 70000}}) {
      const QuantizedProblem each =
          quantized(problem_of(shape, dtype, kWeights[seed % 3], seed), seed);
      ++seed;
      ForwardBuffers buffers(each.problem, {.padding = 3, .misaligned = 1});
      Results results(each);
      ForwardArgs args = buffers.args;
      args.y = results.codes;
      args.quantization = each.quantization;
      if (each.has_scales) args.scales = static_cast<float*>(results.scales.row(0));
      must(cuda::forward(0, args));
      INFO(describe(each));
      CHECK(complaint(each, buffers, results) == "");
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
