// Scalar against a second, deliberately simple implementation of the contract (fold.h).

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "op/float16.h"
#include "op/fold.h"
#include "op/silu.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64};

// T(value). Float is the type in which the operator computes: float, or double for float64 tensors.
template <class Float>
Float rounded(DType dtype, Float value) {
  switch (dtype) {
    case DType::kFloat16:
      return to_float(from_float<Float16>(static_cast<float>(value)));
    case DType::kBFloat16:
      return to_float(from_float<BFloat16>(static_cast<float>(value)));
    default:
      return value;
  }
}

template <class Float>
Float halved(std::vector<Float> values) {
  for (std::size_t s = values.size() / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

template <class Float>
Float folded(const std::vector<Float>& a, const std::vector<Float>& b) {
  const auto columns = static_cast<std::int64_t>(a.size());
  const std::int64_t tiles = tile_count(columns);
  std::vector<Float> sums(static_cast<std::size_t>(bit_ceil(tiles)));
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    std::vector<Float> accumulators(kAccumulators);
    for (std::int64_t j = 0; j < columns; ++j) {
      if (j / kTileColumns != tile) continue;
      Float& acc = accumulators[static_cast<std::size_t>(j % kAccumulators)];
      acc = std::fma(a[static_cast<std::size_t>(j)], b[static_cast<std::size_t>(j)], acc);
    }
    sums[static_cast<std::size_t>(tile)] = halved(accumulators);
  }
  return halved(sums);
}

template <class Float>
std::vector<Float> times(std::vector<Float> values, Float factor) {
  for (Float& value : values) value *= factor;
  return values;
}

// silu of a gate, and its derivative (silu_test.cc). float64 tensors have no gate.
template <class Float>
Float gate_factor(Float z) {
  return silu(static_cast<float>(z));
}
template <class Float>
Float gate_derivative(Float z) {
  return silu_derivative(static_cast<float>(z));
}

template <class Float>
std::vector<Float> row_of(const Matrix& matrix, std::int64_t r) {
  std::vector<Float> values;
  for (std::int64_t j = 0; j < matrix.columns(); ++j) {
    values.push_back(static_cast<Float>(matrix.value(r, j)));
  }
  return values;
}

// The operator's arithmetic with a problem's options, on single numbers and on rows.
template <class Float>
class Operator {
 public:
  Operator(const Problem& problem, const Matrix& weight)
      : problem_(problem),
        is_llama_(problem.options.cast_order == CastOrder::kLlama),
        has_weight_(problem.weight != WeightKind::kNone) {
    if (!has_weight_) return;
    w_ = row_of<Float>(weight, 0);
    const auto offset = static_cast<Float>(problem.options.weight_offset);
    for (Float& w : w_) w = offset == 0 ? w : w + offset;
  }

  Float round(Float value) const { return rounded(problem_.dtype, value); }
  Float y(Float xhat, std::size_t j) const {
    return round(weighted(is_llama_ ? round(xhat) : xhat, j));
  }
  Float g(Float dy, std::size_t j) const {
    return is_llama_ && has_weight_ ? round(weighted(dy, j)) : weighted(dy, j);
  }
  // The value that a gate multiplies after the norm.
  Float normed(Float xhat, std::size_t j) const {
    return is_llama_ ? y(xhat, j) : weighted(xhat, j);
  }
  Float dn(Float dy, Float z) const {
    return is_llama_ ? round(dy * gate_factor(z)) : dy * gate_factor(z);
  }
  // The factor that dweight multiplies with dy.
  Float summand(Float xhat) const { return is_llama_ ? round(xhat) : xhat; }

  Float rstd(const std::vector<Float>& x) const {
    const auto eps = static_cast<Float>(problem_.options.eps);
    const Float sum = folded(x, x);
    if (!std::isfinite(sum)) return rescaled_rstd(x, std::ldexp(Float(1), kIsDouble ? -600 : -96));
    const Float tiny = std::ldexp(Float(1), kIsDouble ? -900 : -100);
    if (sum < tiny && eps < std::numeric_limits<Float>::min()) {
      return rescaled_rstd(x, std::ldexp(Float(1), kIsDouble ? 600 : 96));
    }
    return 1 / std::sqrt(sum * inverse_size() + eps);
  }
  Float cbar(const std::vector<Float>& g, const std::vector<Float>& x, Float rstd) const {
    const Float sum = folded(g, x) + 0;
    const Float tiny = std::ldexp(Float(1), kIsDouble ? -900 : -100);
    const bool vanishes = std::abs(sum) < tiny && rstd > std::ldexp(Float(1), 32);
    if (std::isfinite(sum) && !vanishes) return sum * rstd * inverse_size();
    Float f = std::numeric_limits<Float>::infinity();
    if (std::isfinite(rstd)) {
      f = std::ldexp(Float(1), rstd == 0 ? -2000 : std::ilogb(rstd));
      f = std::max(f, std::numeric_limits<Float>::min());
    }
    return (folded(g, times(x, f)) + 0) * (rstd * (1 / f)) * inverse_size();
  }

 private:
  static constexpr bool kIsDouble = sizeof(Float) == 8;

  Float rescaled_rstd(const std::vector<Float>& x, Float f) const {
    const std::vector<Float> scaled = times(x, f);
    const Float mean = folded(scaled, scaled) * inverse_size();
    const auto eps = static_cast<Float>(problem_.options.eps);
    return 1 / std::sqrt(mean + eps * f * f) * f;
  }
  Float inverse_size() const {
    return static_cast<Float>(1.0 / static_cast<double>(problem_.shape.hidden_size));
  }
  Float weighted(Float value, std::size_t j) const { return has_weight_ ? value * w_[j] : value; }

  const Problem& problem_;
  bool is_llama_;
  bool has_weight_;
  std::vector<Float> w_;
};

// Counts the numbers whose bits differ. Any two NaNs are equal.
class Comparison {
 public:
  void add(double found, double expected) {
    if (std::isnan(found) && std::isnan(expected)) return;
    wrong_ += std::bit_cast<std::uint64_t>(found) != std::bit_cast<std::uint64_t>(expected);
  }
  int wrong() const { return wrong_; }

 private:
  int wrong_ = 0;
};

template <class Float>
int wrong_in_forward_of(const Problem& problem) {
  const ForwardBuffers forward = expected_forward(problem);
  const Operator<Float> op(problem, forward.weight);
  Comparison comparison;
  for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
    std::vector<Float> x = row_of<Float>(forward.x, r);
    if (problem.residual) {
      const std::vector<Float> residual = row_of<Float>(forward.residual, r);
      for (std::size_t j = 0; j < x.size(); ++j) {
        x[j] = op.round(x[j] + residual[j]);
        comparison.add(forward.sum_out.value(r, static_cast<std::int64_t>(j)), x[j]);
      }
    }
    std::vector<Float> z;
    if (problem.gate) z = row_of<Float>(forward.gate, r);
    const bool is_before = problem.options.gate_order == GateOrder::kBeforeNorm;
    for (std::size_t j = 0; problem.gate && is_before && j < x.size(); ++j) {
      x[j] *= gate_factor(z[j]);
    }
    const Float rstd = op.rstd(x);
    comparison.add(forward.rstd.value(0, r), rstd);
    for (std::size_t j = 0; j < x.size(); ++j) {
      Float y = op.y(x[j] * rstd, j);
      if (problem.gate && !is_before) {
        y = op.round(op.normed(x[j] * rstd, j) * gate_factor(z[j]));
      }
      comparison.add(forward.y.value(r, static_cast<std::int64_t>(j)), y);
    }
  }
  return comparison.wrong();
}

template <class Float>
int wrong_in_backward_of(const Problem& problem) {
  const BackwardBuffers backward = expected_backward(problem);
  const Operator<Float> op(problem, backward.weight);
  const auto columns = static_cast<std::size_t>(problem.shape.hidden_size);
  const std::int64_t group_rows = row_group_rows(problem.shape.rows);
  const bool is_before = problem.options.gate_order == GateOrder::kBeforeNorm;
  std::vector<std::vector<Float>> sums(columns);  // of each column, one per row group
  Comparison comparison;
  for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
    // Rows as they are in memory, and rows with the gate applied.
    const std::vector<Float> plain_x = row_of<Float>(backward.x, r);
    const std::vector<Float> plain_dy = row_of<Float>(backward.dy, r);
    std::vector<Float> x = plain_x;
    std::vector<Float> dy = plain_dy;
    std::vector<Float> z;
    if (problem.gate) z = row_of<Float>(backward.gate, r);
    for (std::size_t j = 0; j < z.size(); ++j) {
      if (is_before) {
        x[j] *= gate_factor(z[j]);
      } else {
        dy[j] = op.dn(dy[j], z[j]);
      }
    }
    std::vector<Float> g;
    for (std::size_t j = 0; j < columns; ++j) g.push_back(op.g(dy[j], j));
    const Float rstd = op.rstd(x);
    const Float cbar = op.cbar(g, x, rstd);
    for (std::size_t j = 0; j < columns; ++j) {
      const auto column = static_cast<std::int64_t>(j);
      const Float xhat = x[j] * rstd;
      Float dx = rstd * std::fma(-xhat, cbar, g[j]);
      if (problem.gate) {
        const Float dgate = is_before ? dx * plain_x[j] * gate_derivative(z[j])
                                      : plain_dy[j] * op.normed(xhat, j) * gate_derivative(z[j]);
        comparison.add(backward.dgate.value(r, column), op.round(dgate));
        if (is_before) dx *= gate_factor(z[j]);
      }
      if (problem.residual) dx += static_cast<Float>(backward.dsum.value(r, column));
      comparison.add(backward.dx.value(r, column), op.round(dx));
      if (r % group_rows == 0) sums[j].push_back(0);
      sums[j].back() = std::fma(dy[j], op.summand(xhat), sums[j].back());
    }
  }
  for (std::size_t j = 0; j < columns; ++j) {
    comparison.add(backward.dweight.value(0, static_cast<std::int64_t>(j)),
                   op.round(neighbour_first(sums[j])));
  }
  return comparison.wrong();
}

int wrong_in_forward(const Problem& problem) {
  return problem.dtype == DType::kFloat64 ? wrong_in_forward_of<double>(problem)
                                          : wrong_in_forward_of<float>(problem);
}
int wrong_in_backward(const Problem& problem) {
  return problem.dtype == DType::kFloat64 ? wrong_in_backward_of<double>(problem)
                                          : wrong_in_backward_of<float>(problem);
}

// Compares forward and backward, then again with more rows of extreme values, two in three without
// eps.
void check_usual_and_extreme_values(Problem problem, std::uint64_t seed) {
  INFO(describe(problem));
  CHECK(wrong_in_forward(problem) == 0);
  CHECK(wrong_in_backward(problem) == 0);
  problem.shape.rows = 25;
  problem.values = Values::kExtreme;
  problem.options.eps = seed % 3 == 0 ? 1e-6 : 0.0;
  CHECK(wrong_in_forward(problem) == 0);
  CHECK(wrong_in_backward(problem) == 0);
}

TEST_CASE("scalar computes what fold.h defines, whatever the options") {
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
            check_usual_and_extreme_values(problem, seed);
          }
        }
      }
    }
  }
}

TEST_CASE("scalar computes what fold.h defines in rows with a gate") {
  std::uint64_t seed = 131;
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const auto weight : {WeightKind::kNone, WeightKind::kSame}) {
      for (const auto order : {CastOrder::kLlama, CastOrder::kFloat}) {
        for (const auto gate_order : {GateOrder::kAfterNorm, GateOrder::kBeforeNorm}) {
          for (const std::int64_t hidden_size : {1, 5, 65, 300}) {
            Problem problem{{7, hidden_size}, dtype, weight, {}, dtype, false,
                            Values::kFinite,  ++seed};
            problem.options.cast_order = order;
            problem.options.weight_offset = seed % 2 == 0 ? 1.0 : 0.0;
            problem.options.gate_order = gate_order;
            problem.gate = true;
            problem.residual = seed % 3 == 0;
            check_usual_and_extreme_values(problem, seed);
          }
        }
      }
    }
  }
}

TEST_CASE("scalar computes what fold.h defines in rows of many tiles") {
  for (const std::int64_t hidden_size : {2049, 5125}) {
    const Problem problem{{3, hidden_size}, DType::kFloat32, WeightKind::kSame, {},
                          DType::kFloat32,  false,           Values::kFinite,   71};
    CHECK(wrong_in_forward(problem) == 0);
    CHECK(wrong_in_backward(problem) == 0);
  }
}

TEST_CASE("scalar computes the dweight of many rows as fold.h defines it") {
  for (const std::int64_t rows : {1, 16, 17, 40, 200, 8200}) {
    const Problem problem{{rows, 3},       DType::kFloat32, WeightKind::kNone, {},
                          DType::kFloat32, false,           Values::kFinite,   32};
    CAPTURE(rows);
    CHECK(wrong_in_backward(problem) == 0);
  }
}

}  // namespace
}  // namespace rmsnorm::test
