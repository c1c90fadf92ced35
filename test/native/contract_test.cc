// Scalar against the contract (fold.h) written down a second time, without any cleverness.

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "float16.h"
#include "fold.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

float at(const Matrix& matrix, std::int64_t r, std::int64_t j) {
  const std::uint32_t bits = matrix.bits(r, j);
  switch (matrix.dtype()) {
    case DType::kFloat16:
      return to_float(Float16{static_cast<std::uint16_t>(bits)});
    case DType::kBFloat16:
      return to_float(BFloat16{static_cast<std::uint16_t>(bits)});
    default:
      return std::bit_cast<float>(bits);
  }
}

// T(value)
float rounded(DType dtype, float value) {
  switch (dtype) {
    case DType::kFloat16:
      return round_to<Float16>(value);
    case DType::kBFloat16:
      return round_to<BFloat16>(value);
    default:
      return value;
  }
}

float halved(std::vector<float> values) {
  for (std::size_t s = values.size() / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

float folded(const std::vector<float>& a, const std::vector<float>& b) {
  const auto columns = static_cast<std::int64_t>(a.size());
  const std::int64_t tiles = tile_count(columns);
  std::vector<float> sums(static_cast<std::size_t>(bit_ceil(tiles)));
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    std::vector<float> accumulators(kAccumulators);
    for (std::int64_t j = 0; j < columns; ++j) {
      if (j / kTileColumns != tile) continue;
      float& acc = accumulators[static_cast<std::size_t>(j % kAccumulators)];
      acc = std::fma(a[static_cast<std::size_t>(j)], b[static_cast<std::size_t>(j)], acc);
    }
    sums[static_cast<std::size_t>(tile)] = halved(accumulators);
  }
  return halved(sums);
}

// One row of a problem, column by column: what goes in as numbers, what comes out rounded.
class Row {
 public:
  Row(const Problem& problem, const Matrix& weight) : problem_(problem) {
    for (std::int64_t j = 0; j < problem.shape.hidden_size; ++j) {
      const auto offset = static_cast<float>(problem.options.weight_offset);
      const bool is_one = problem.weight == WeightKind::kNone;
      w_.push_back(is_one ? 1.0f : offset == 0.0f ? at(weight, 0, j) : at(weight, 0, j) + offset);
    }
    is_llama_ = problem.options.cast_order == CastOrder::kLlama;
  }

  float rstd(const std::vector<float>& x) const {
    return 1.0f /
           std::sqrt(folded(x, x) * inverse_size() + static_cast<float>(problem_.options.eps));
  }
  float y(float xhat, std::size_t j) const {
    return round(weighted(is_llama_ ? round(xhat) : xhat, j));
  }
  // g and what dweight sums with dy
  float g(float dy, std::size_t j) const {
    return is_llama_ && problem_.weight != WeightKind::kNone ? round(weighted(dy, j))
                                                             : weighted(dy, j);
  }
  float summand(float xhat) const { return is_llama_ ? round(xhat) : xhat; }

  float cbar(const std::vector<float>& g, const std::vector<float>& x, float rstd) const {
    return folded(g, x) * rstd * inverse_size();
  }
  float round(float value) const { return rounded(problem_.dtype, value); }

 private:
  float inverse_size() const {
    return static_cast<float>(1.0 / static_cast<double>(problem_.shape.hidden_size));
  }
  float weighted(float value, std::size_t j) const {
    return problem_.weight == WeightKind::kNone ? value : value * w_[j];
  }

  const Problem& problem_;
  std::vector<float> w_;
  bool is_llama_;
};

std::vector<float> row_of(const Matrix& matrix, std::int64_t r) {
  std::vector<float> values;
  for (std::int64_t j = 0; j < matrix.columns(); ++j) values.push_back(at(matrix, r, j));
  return values;
}

// Counts the numbers that are not equal in every bit.
class Comparison {
 public:
  void add(float found, float expected) {
    wrong_ += std::bit_cast<std::uint32_t>(found) != std::bit_cast<std::uint32_t>(expected);
  }
  int wrong() const { return wrong_; }

 private:
  int wrong_ = 0;
};

int wrong_in_forward(const Problem& problem) {
  const ForwardBuffers forward = expected_forward(problem);
  const Row row(problem, forward.weight);
  Comparison comparison;
  for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
    std::vector<float> x = row_of(forward.x, r);
    if (problem.residual) {
      for (std::size_t j = 0; j < x.size(); ++j) {
        x[j] = row.round(x[j] + row_of(forward.residual, r)[j]);
        comparison.add(at(forward.residual_out, r, static_cast<std::int64_t>(j)), x[j]);
      }
    }
    const float rstd = row.rstd(x);
    comparison.add(at(forward.rstd, 0, r), rstd);
    for (std::size_t j = 0; j < x.size(); ++j) {
      comparison.add(at(forward.y, r, static_cast<std::int64_t>(j)), row.y(x[j] * rstd, j));
    }
  }
  return comparison.wrong();
}

int wrong_in_backward(const Problem& problem) {
  const BackwardBuffers backward = expected_backward(problem);
  const Row row(problem, backward.weight);
  const auto columns = static_cast<std::size_t>(problem.shape.hidden_size);
  const std::int64_t group_rows = row_group_rows(problem.shape.rows);
  std::vector<std::vector<float>> sums(columns);  // of the groups, column by column
  Comparison comparison;
  for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
    const std::vector<float> x = row_of(backward.x, r);
    const std::vector<float> dy = row_of(backward.dy, r);
    const std::vector<float> dresidual_out =
        problem.residual ? row_of(backward.dresidual_out, r) : std::vector<float>();
    std::vector<float> g;
    for (std::size_t j = 0; j < columns; ++j) g.push_back(row.g(dy[j], j));
    const float rstd = row.rstd(x);
    const float cbar = row.cbar(g, x, rstd);
    for (std::size_t j = 0; j < columns; ++j) {
      const float xhat = x[j] * rstd;
      float dx = rstd * std::fma(-xhat, cbar, g[j]);
      if (problem.residual) dx += dresidual_out[j];
      comparison.add(at(backward.dx, r, static_cast<std::int64_t>(j)), row.round(dx));
      if (r % group_rows == 0) sums[j].push_back(0.0f);
      sums[j].back() = std::fma(dy[j], row.summand(xhat), sums[j].back());
    }
  }
  for (std::size_t j = 0; j < columns; ++j) {
    comparison.add(at(backward.dweight, 0, static_cast<std::int64_t>(j)),
                   row.round(neighbour_first(sums[j])));
  }
  return comparison.wrong();
}

TEST_CASE("scalar computes what fold.h says, whatever the options") {
  std::uint64_t seed = 31;
  for (const DType dtype : kDTypes) {
    for (const auto weight : {WeightKind::kNone, WeightKind::kSame}) {
      for (const auto order : {CastOrder::kLlama, CastOrder::kFloat}) {
        for (const bool residual : {false, true}) {
          for (const std::int64_t hidden_size : {1, 5, 64, 65, 256, 300, 700}) {
            Problem problem{{7, hidden_size}, dtype, weight, {}, dtype, false,
                            Values::kFinite,  ++seed};
            problem.options.cast_order = order;
            problem.options.weight_offset = seed % 2 == 0 ? 1.0 : 0.0;
            problem.residual = residual;
            INFO(describe(problem));
            CHECK(wrong_in_forward(problem) == 0);
            CHECK(wrong_in_backward(problem) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("scalar computes what fold.h says: rows of many tiles") {
  for (const std::int64_t hidden_size : {2049, 5125}) {
    const Problem problem{{3, hidden_size}, DType::kFloat32, WeightKind::kSame, {},
                          DType::kFloat32,  false,           Values::kFinite,   71};
    CHECK(wrong_in_forward(problem) == 0);
    CHECK(wrong_in_backward(problem) == 0);
  }
}

TEST_CASE("scalar computes what fold.h says: dweight of many rows") {
  for (const std::int64_t rows : {1, 16, 17, 40, 200, 8200}) {
    const Problem problem{{rows, 3},       DType::kFloat32, WeightKind::kNone, {},
                          DType::kFloat32, false,           Values::kFinite,   32};
    CAPTURE(rows);
    CHECK(wrong_in_backward(problem) == 0);
  }
}

}  // namespace
}  // namespace rmsnorm::test
