// The backend against scalar: how it distributes a call. That adds the number of threads, the
// ranges of rows they take and the blocks of row groups.

#include "cpu/backend.h"

#include <doctest/doctest.h>

#include <cfenv>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cpu/thread_count.h"
#include "cpu/thread_pool.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

// Restores the variant and the thread count at the end of a test.
class Restore {
 public:
  Restore() {
    REQUIRE(cpu::current_variant(&variant_).ok());
    REQUIRE(cpu::thread_count(&threads_).ok());
  }
  ~Restore() {
    cpu::set_variant(*variant_);
    cpu::set_thread_count(threads_);
  }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  const cpu::Variant* variant_ = nullptr;
  int threads_ = 0;
};

constexpr int kThreadCounts[] = {1, 2, 3, 7};

constexpr Problem problem_of(Shape shape, DType dtype, WeightKind weight, std::uint64_t seed) {
  return {shape, dtype, weight, {.weight_offset = 1.0f}, dtype, false, Values::kFinite, seed};
}

constexpr Problem with_residual(Problem problem) {
  problem.residual = true;
  return problem;
}

constexpr Problem with_gate(Problem problem, GateOrder order) {
  problem.gate = true;
  problem.options.gate_order = order;
  return problem;
}

// Calls of a few thousand bytes run on one thread whatever the thread count. Most of these move
// enough bytes for seven threads.
const Problem kProblems[] = {
    problem_of({4800, 100}, DType::kFloat32, WeightKind::kSame, 1),      // blocks of 4 groups, ...
    problem_of({1133, 100}, DType::kFloat32, WeightKind::kNone, 2),      // ... of 8, the last of 7
    problem_of({8200, 33}, DType::kFloat16, WeightKind::kFloat32, 3),    // groups of 32 rows
    problem_of({1001, 500}, DType::kBFloat16, WeightKind::kSame, 4),     // a group of 9
    problem_of({40, 20000}, DType::kBFloat16, WeightKind::kFloat32, 5),  // 3 groups
    problem_of({7, 70000}, DType::kFloat32, WeightKind::kSame, 6),       // 1 group
    problem_of({0, 70}, DType::kFloat32, WeightKind::kSame, 7),
    problem_of({1, 1}, DType::kFloat16, WeightKind::kSame, 8),
    with_residual(problem_of({900, 300}, DType::kFloat32, WeightKind::kSame, 13)),
    with_residual(problem_of({300, 1100}, DType::kBFloat16, WeightKind::kSame, 14)),
    problem_of({1133, 70}, DType::kFloat64, WeightKind::kSame, 15),
    with_residual(problem_of({90, 1000}, DType::kFloat64, WeightKind::kSame, 16)),
    with_gate(problem_of({900, 300}, DType::kFloat32, WeightKind::kSame, 17),
              GateOrder::kAfterNorm),
    with_gate(problem_of({7, 70000}, DType::kBFloat16, WeightKind::kFloat32, 18),
              GateOrder::kBeforeNorm),
    with_gate(with_residual(problem_of({300, 1100}, DType::kFloat16, WeightKind::kSame, 19)),
              GateOrder::kAfterNorm),
    with_gate(problem_of({1, 5000}, DType::kBFloat16, WeightKind::kSame, 20),
              GateOrder::kAfterNorm),
};

void check(const Problem& problem, const Layout& layout, const ForwardBuffers& y,
           const BackwardBuffers& dx) {
  INFO(describe(problem) << "; " << describe(layout));
  ForwardBuffers forward(problem, layout);
  REQUIRE(cpu::forward(forward.args).ok());
  CHECK(complaint(problem, layout, y, forward) == "");
  BackwardBuffers backward(problem, layout);
  REQUIRE(cpu::backward(backward.args).ok());
  CHECK(complaint(problem, layout, dx, backward) == "");
}

TEST_CASE("backend: every variant gives the same bits on any number of threads") {
  const Restore restore;
  for (const Problem& problem : kProblems) {
    const ForwardBuffers y = expected_forward(problem);
    const BackwardBuffers dx = expected_backward(problem);
    for (const cpu::Variant* variant : supported_variants()) {
      cpu::set_variant(*variant);
      for (const int threads : kThreadCounts) {
        cpu::set_thread_count(threads);
        INFO(describe(*variant) << " on " << threads << " threads");
        check(problem, {}, y, dx);
      }
      check(problem,
            {.padding = 3,
             .misaligned = 1,
             .misaligned_out = 2,
             .in_place = InPlace::kX,
             .sum_in_place = InPlace::kResidual,
             .dweight = false,
             .batch_rows = 5,
             .batch_padding = 7,
             .dgate_in_place = true},
            y, dx);
      check(problem, {.has_rstd = true, .dx = false}, y, dx);
      check(problem, {.dx = false, .dweight = false}, y, dx);
    }
  }
}

TEST_CASE("backend: outputs that bypass the caches have the same bits") {
  const Restore restore;
  cpu::set_thread_count(3);
  for (const bool residual : {false, true}) {
    Problem problem = problem_of({3100, 1030}, DType::kFloat32, WeightKind::kNone, 9);
    problem.residual = residual;
    REQUIRE(problem.shape.rows * problem.shape.hidden_size * 8 > 24 << 20);
    const ForwardBuffers y = expected_forward(problem);
    const BackwardBuffers dx = expected_backward(problem);
    check(problem, {.padding = 2}, y, dx);
    check(problem, {.padding = 2, .batch_rows = 31, .batch_padding = 32}, y, dx);
  }
}

TEST_CASE("backend: a row alone equals the row in a batch") {
  const Restore restore;
  for (const cpu::Variant* variant : supported_variants()) {
    cpu::set_variant(*variant);
    for (const std::int64_t hidden_size : {1, 100, 300, 513, 1100, 5000}) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
        const Problem problem = problem_of({33, hidden_size}, dtype, WeightKind::kSame, 10);
        INFO(describe(*variant) << ": " << describe(problem));
        ForwardBuffers forward(problem, {});
        BackwardBuffers backward(problem, {});
        REQUIRE(cpu::forward(forward.args).ok());
        REQUIRE(cpu::backward(backward.args).ok());
        for (const std::int64_t r : {0, 5, 17, 32}) {
          const auto alone = [&](const Matrix& matrix) {
            Matrix row(dtype, 1, hidden_size);
            std::memcpy(row.row(0), matrix.row(r), row.row_bytes());
            return row;
          };
          const Matrix x = alone(forward.x);
          const Matrix dy = alone(backward.dy);
          Matrix y(dtype, 1, hidden_size);
          Matrix dx(dtype, 1, hidden_size);
          ForwardArgs forward_args = forward.args;
          forward_args.shape.rows = 1;
          forward_args.x = x;
          forward_args.y = y;
          forward_args.rstd = nullptr;
          REQUIRE(cpu::forward(forward_args).ok());
          CHECK(std::memcmp(y.row(0), forward.y.row(r), y.row_bytes()) == 0);
          BackwardArgs backward_args = backward.args;
          backward_args.shape.rows = 1;
          backward_args.dy = dy;
          backward_args.x = x;
          backward_args.dx = dx;
          backward_args.dweight = nullptr;
          REQUIRE(cpu::backward(backward_args).ok());
          CHECK(std::memcmp(dx.row(0), backward.dx.row(r), dx.row_bytes()) == 0);
        }
      }
    }
  }
}

TEST_CASE("backend: convert gives the same result on any number of threads") {
  const Restore restore;
  constexpr std::int64_t kCount = 400001;
  Matrix source(DType::kFloat32, 1, kCount);
  Random random(6);
  for (std::int64_t i = 0; i < kCount; ++i) {
    source.set(0, i, static_cast<float>(static_cast<std::int32_t>(random.bits())) * 0x1p-20f);
  }
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    Matrix expected(dtype, 1, kCount);
    cpu::kScalar.convert(DType::kFloat32, source.row(0), dtype, expected.row(0), kCount);
    for (const int threads : kThreadCounts) {
      cpu::set_thread_count(threads);
      Matrix actual(dtype, 1, kCount);
      REQUIRE(cpu::convert(DType::kFloat32, source.row(0), dtype, actual.row(0), kCount).ok());
      CHECK(difference(expected, actual, Values::kFinite) == "");
    }
  }
}

TEST_CASE("backend: several threads can call at once") {
  const Restore restore;
  cpu::set_thread_count(3);
  const Problem problem = problem_of({400, 300}, DType::kBFloat16, WeightKind::kSame, 12);
  const ForwardBuffers y = expected_forward(problem);
  const BackwardBuffers dx = expected_backward(problem);
  std::string complaints[4];
  std::vector<std::thread> callers;
  for (std::string& text : complaints) {
    callers.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        ForwardBuffers forward(problem, {});
        BackwardBuffers backward(problem, {});
        if (!cpu::forward(forward.args).ok() || !cpu::backward(backward.args).ok()) text += "fails";
        text += complaint(problem, {}, y, forward) + complaint(problem, {}, dx, backward);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::string& text : complaints) CHECK(text == "");
}

// Rounding to bfloat16 clears the exception flags to detect its own exceptions (ExceptionFlags).
TEST_CASE("backend: floating-point exceptions raised before a call stay raised") {
  Problem problem{};
  problem.shape = {9, 2048};
  problem.dtype = DType::kBFloat16;
  problem.weight = WeightKind::kSame;
  problem.values = Values::kThreshold;
  for (const cpu::Variant* variant : supported_variants()) {
    ForwardBuffers buffers(problem, {});
    for (const int exception : {FE_INVALID, FE_OVERFLOW}) {
      std::feclearexcept(FE_ALL_EXCEPT);
      std::feraiseexcept(exception);
      forward_with(*variant, buffers.args, {});
      CHECK(std::fetestexcept(exception) == exception);
    }
  }
}

TEST_CASE("backend: variants are found by name") {
  for (const cpu::Variant* variant : supported_variants()) {
    CHECK(cpu::find_variant(variant->name) == variant);
  }
  CHECK(cpu::find_variant("mmx") == nullptr);
  CHECK(cpu::find_variant("") == nullptr);
}

}  // namespace
}  // namespace rmsnorm::test
