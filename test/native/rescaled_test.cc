// Rows of any magnitude: rows whose squares overflow or vanish give results as right as ordinary
// rows.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat64};

// Even, so that square roots of these powers of two are powers of two. float64 uses exponents eight
// times as large.
constexpr int kExponents[] = {-100, -80, -66, -62, -56, -54, -52, -50, -48, -40, -20, 2,
                              20,   40,  52,  56,  58,  60,  62,  64,  80,  100, 112};

// Integers that every type represents, times 2^exponent.
void fill(Matrix& matrix, int exponent, std::uint64_t seed) {
  Random random(seed);
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (std::int64_t j = 0; j < matrix.columns(); ++j) {
      const auto value = static_cast<double>(random.below(255) - 127);
      matrix.set(r, j, std::ldexp(value, exponent));
    }
  }
}

struct Results {
  ForwardBuffers forward;
  BackwardBuffers backward;
};

Results results_at(const cpu::Variant& variant, const Problem& problem, int exponent) {
  Results results{{problem, {}}, {problem, {}}};
  fill(results.forward.x, exponent, 1);
  fill(results.backward.x, exponent, 1);
  fill(results.backward.dy, exponent, 2);
  fill(results.forward.weight, -6, 3);
  fill(results.backward.weight, -6, 3);
  forward_with(variant, results.forward.args, {});
  backward_with(variant, results.backward.args, {});
  return results;
}

TEST_CASE("scaling x by a power of two keeps the bits of y, and scaling x and dy those of dx") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : kDTypes) {
      for (const std::int64_t hidden_size : {3, 33, 64, 300, 2049, 5000}) {
        Problem problem{{19, hidden_size}, dtype, WeightKind::kSame, {}, dtype, false,
                        Values::kFinite,   1};
        problem.options.eps = 0.0;
        problem.options.weight_offset = 1.0;
        const Results ordinary = results_at(*variant, problem, 0);
        for (const int exponent : kExponents) {
          INFO(describe(*variant) << ": " << describe(problem) << ", exponent " << exponent);
          const int scale = dtype == DType::kFloat64 ? 8 * exponent : exponent;
          const Results scaled = results_at(*variant, problem, scale);
          CHECK(difference(ordinary.forward.y, scaled.forward.y, Values::kFinite) == "");
          CHECK(difference(ordinary.backward.dx, scaled.backward.dx, Values::kFinite) == "");
        }
      }
    }
  }
}

TEST_CASE("dx is 0 where dy is 0, whatever the magnitude of x") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : kDTypes) {
      for (const int exponent : kExponents) {
        Problem problem{{19, 300}, dtype, WeightKind::kSame, {}, dtype, false, Values::kFinite, 1};
        problem.options.eps = 0.0;
        BackwardBuffers backward(problem, {});
        fill(backward.x, exponent, 1);
        for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
          std::memset(backward.dy.row(r), 0, backward.dy.row_bytes());
        }
        backward_with(*variant, backward.args, {});
        int wrong = 0;
        for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
          for (std::int64_t j = 0; j < problem.shape.hidden_size; ++j) {
            wrong += backward.dx.value(r, j) != 0.0 || backward.dweight.value(0, j) != 0.0;
          }
        }
        INFO(describe(*variant) << ": " << describe(problem) << ", exponent " << exponent);
        CHECK(wrong == 0);
      }
    }
  }
}

// Products that underflow give -0. Their sum is +0 nevertheless, whether or not missing columns
// have added zeros (fold.h). The dx of a dy of -0 shows the sign of the sum.
TEST_CASE("backward's row sum of zeros is +0 in rows of any length") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      for (const auto weight : {WeightKind::kNone, WeightKind::kSame}) {
        for (const std::int64_t hidden_size : {65, 100, 129, 200, 256, 300, 512, 700}) {
          Problem problem{{5, hidden_size}, dtype, weight, {}, dtype, false, Values::kFinite, 1};
          INFO(describe(*variant) << ": " << describe(problem));
          BackwardBuffers backward{problem, {}};
          const auto is_zero = [](std::int64_t j) { return j % 256 >= 64; };
          for (std::int64_t j = 0; j < hidden_size; ++j) {
            backward.weight.set(0, j, 1.0);
            for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
              backward.x.set(r, j, 0x1p-30);
              backward.dy.set(r, j, is_zero(j) ? -0.0 : -0x1p-130);
            }
          }
          backward_with(*variant, backward.args, {});
          int wrong = 0;
          for (std::int64_t j = 0; j < hidden_size; ++j) {
            const double dx = backward.dx.value(0, j);
            wrong += !std::signbit(dx) || (dx == 0.0) != is_zero(j);
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
