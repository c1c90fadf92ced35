// Rows with a gate: every variant against scalar, and scalar against the formulas of rms_norm.h in
// float64.

#include <algorithm>
#include <cmath>
#include <vector>

#include "variants_support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kGatedDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// Calls function(problem) for each combination of options that allows a gate.
template <class Function>
void for_each_gated_kind(const Function& function) {
  for (const DType dtype : kGatedDTypes) {
    for (const auto order : {GateOrder::kAfterNorm, GateOrder::kBeforeNorm}) {
      for_each_kind(dtype, [&](Problem problem) {
        problem.gate = true;
        problem.options.gate_order = order;
        problem.dweight_dtype = dtype;
        function(problem);
      });
    }
  }
}

TEST_CASE("gate: every variant equals scalar") {
  Random random(19);
  std::uint64_t seed = 0;
  for_each_gated_kind([&](Problem problem) {
    for (const std::int64_t hidden_size :
         {1, 2, 7, 8, 31, 33, 64, 100, 128, 256, 257, 769, 1000, 4096, 5125}) {
      const std::int64_t rows = one_of(random, {1, 3, 8, 17, 33});
      problem.shape = {hidden_size > 1000 ? 1 + rows % 8 : rows, hidden_size};
      problem.options.eps = one_of(random, {1e-6f, 1e-5f, 0.25f});
      problem.dweight_dtype = random.once_in(2) ? DType::kFloat32 : problem.dtype;
      problem.accumulate = random.once_in(2);
      problem.residual = random.once_in(2);
      problem.seed = ++seed;
      check(random, problem);
    }
  });
}

TEST_CASE("gate: every variant equals scalar near the smallest normal number") {
  Random random(4);
  for_each_gated_kind([&](Problem problem) {
    problem.values = Values::kThreshold;
    for (const std::int64_t hidden_size : {5, 33, 300}) {
      problem.shape = {1 + random.below(20), hidden_size};
      ++problem.seed;
      check(random, problem);
    }
  });
}

TEST_CASE("gate: every variant equals scalar in rows that need the rescaled pass") {
  Random random(5);
  for_each_gated_kind([&](Problem problem) {
    problem.values = Values::kExtreme;
    for (const std::int64_t hidden_size : {1, 33, 300, 2049}) {
      problem.shape = {1 + random.below(20), hidden_size};
      problem.options.eps = one_of(random, {0.0, 0.0, 1e-6, 1e-40});
      problem.residual = random.once_in(4);
      ++problem.seed;
      check(random, problem);
    }
  });
}

TEST_CASE("gate: every variant equals scalar in rows with NaN and infinity") {
  Random random(3);
  for_each_gated_kind([&](Problem problem) {
    problem.values = Values::kSpecial;
    for (const std::int64_t hidden_size : {1, 9, 100, 300, 2049}) {
      problem.shape = {3 + random.below(18), hidden_size};
      ++problem.seed;
      check(random, problem);
    }
  });
}

TEST_CASE("gate: every variant equals scalar in rows of more tiles than the buffer holds") {
  Random random(1);
  for (const auto order : {GateOrder::kAfterNorm, GateOrder::kBeforeNorm}) {
    Problem problem{{1, 300000},       DType::kBFloat16,
                    WeightKind::kSame, {},
                    DType::kBFloat16,  false,
                    Values::kFinite,   11};
    problem.gate = true;
    problem.options.gate_order = order;
    check(random, problem);
  }
}

using Row = std::vector<double>;

Row row_of(const Matrix& matrix, std::int64_t r) {
  Row row;
  for (std::int64_t j = 0; j < matrix.columns(); ++j) row.push_back(matrix.value(r, j));
  return row;
}

void fill_ordinary(Matrix& matrix, std::uint64_t seed) {
  Random random(seed);
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (std::int64_t j = 0; j < matrix.columns(); ++j) {
      matrix.set(r, j, static_cast<double>(static_cast<std::int32_t>(random.bits())) * 0x1p-30);
    }
  }
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// The largest error found, as a fraction of its `bound` in units of 2^-24.
class Largest {
 public:
  void add(double found, double expected, double bound) {
    share_ = std::max(share_, std::abs(found - expected) / (bound * 0x1p-24));
  }
  double share() const { return share_; }

 private:
  double share_ = 0;
};

// The formulas of rms_norm.h for a row of x, dy, gate and w. Bounds are in units of 2^-24, the
// relative error of one operation, and count operations. The error of silu is 5.8 units, that of
// its derivative 11 of `magnitude` (silu_test.cc). A row sum of up to 300 columns adds 11, and rstd
// of an exact x 9.
struct Model {
  Row x, dy, z, w;
  bool is_before;

  std::size_t size() const { return x.size(); }
  double s(std::size_t j) const { return z[j] * sigmoid(z[j]); }
  double derivative(std::size_t j) const { return sigmoid(z[j]) * (1 + z[j] * sigmoid(-z[j])); }
  double magnitude(std::size_t j) const {
    return sigmoid(z[j]) * (1 + std::abs(z[j]) * sigmoid(-z[j]));
  }
  double input(std::size_t j) const { return is_before ? x[j] * s(j) : x[j]; }
  double rstd() const {
    double sum = 0;
    for (std::size_t j = 0; j < size(); ++j) sum += input(j) * input(j);
    return 1 / std::sqrt(sum / static_cast<double>(size()) + 1e-6f);
  }
  double xhat(std::size_t j) const { return input(j) * rstd_of_row; }
  double y(std::size_t j) const { return xhat(j) * w[j] * (is_before ? 1 : s(j)); }
  double dn(std::size_t j) const { return is_before ? dy[j] : dy[j] * s(j); }
  double mean(bool of_magnitudes) const {
    double sum = 0;
    for (std::size_t j = 0; j < size(); ++j) {
      const double product = dn(j) * w[j] * xhat(j);
      sum += of_magnitudes ? std::abs(product) : product;
    }
    return sum / static_cast<double>(size());
  }

  double rstd_of_row = 0;
};

TEST_CASE("gate: scalar computes the formulas of rms_norm.h") {
  std::uint64_t seed = 0;
  for (const bool is_before : {false, true}) {
    for (const std::int64_t hidden_size : {1, 5, 64, 100, 300}) {
      Problem problem{{20, hidden_size}, DType::kFloat32, WeightKind::kSame, {},
                      DType::kFloat32,   false,           Values::kFinite,   1};
      problem.gate = true;
      problem.options.gate_order = is_before ? GateOrder::kBeforeNorm : GateOrder::kAfterNorm;
      INFO(describe(problem));
      ForwardBuffers forward(problem, {});
      BackwardBuffers backward(problem, {});
      seed += 10;
      for (Matrix* const x : {&forward.x, &backward.x}) fill_ordinary(*x, seed);
      for (Matrix* const gate : {&forward.gate, &backward.gate}) fill_ordinary(*gate, seed + 1);
      for (Matrix* const w : {&forward.weight, &backward.weight}) fill_ordinary(*w, seed + 2);
      fill_ordinary(backward.dy, seed + 3);
      forward_with(cpu::kScalar, forward.args, {});
      backward_with(cpu::kScalar, backward.args, {});

      Largest of_y, of_dx, of_dgate, of_dweight;
      const auto columns = static_cast<std::size_t>(hidden_size);
      Row dweight(columns), dweight_bound(columns);
      for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
        Model row{row_of(backward.x, r), row_of(backward.dy, r), row_of(backward.gate, r),
                  row_of(backward.weight, 0), is_before};
        row.rstd_of_row = row.rstd();
        const double rstd = row.rstd_of_row;
        const double mean = row.mean(false);
        const double mean_of_magnitudes = row.mean(true);
        for (std::size_t j = 0; j < columns; ++j) {
          const auto column = static_cast<std::int64_t>(j);
          of_y.add(forward.y.value(r, column), row.y(j), 27 * std::abs(row.y(j)));
          const double g = row.dn(j) * row.w[j];
          const double xhat = row.xhat(j);
          const double gradient = rstd * (g - xhat * mean);
          const double gradient_bound =
              rstd * (27 * std::abs(g) + 82 * std::abs(xhat) * mean_of_magnitudes);
          const double s = is_before ? row.s(j) : 1;
          of_dx.add(backward.dx.value(r, column), gradient * s,
                    gradient_bound * std::abs(s) + 7 * std::abs(gradient * s));
          const double upstream = is_before ? gradient : row.dy[j];
          const double gated = is_before ? row.x[j] : xhat * row.w[j];
          const double own = is_before ? gradient_bound * std::abs(gated) : 0;
          of_dgate.add(backward.dgate.value(r, column), upstream * gated * row.derivative(j),
                       (own + 25 * std::abs(upstream * gated)) * row.magnitude(j));
          dweight[j] += row.dn(j) * xhat;
          dweight_bound[j] += 60 * std::abs(row.dn(j) * xhat);
        }
      }
      for (std::size_t j = 0; j < columns; ++j) {
        of_dweight.add(backward.dweight.value(0, static_cast<std::int64_t>(j)), dweight[j],
                       dweight_bound[j]);
      }
      CHECK(of_y.share() < 1);
      CHECK(of_dx.share() < 1);
      CHECK(of_dgate.share() < 1);
      CHECK(of_dweight.share() < 1);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
