// Matrices inside other tensors: rows of stride 0, and batches of rows between other rows.

#include <doctest/doctest.h>

#include <cstring>

#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64};

void copy_first_row(Matrix& matrix) {
  for (std::int64_t r = 1; r < matrix.rows(); ++r) {
    std::memcpy(matrix.row(r), matrix.row(0), matrix.row_bytes());
  }
}

TEST_CASE("an input whose row stride is 0 acts as a matrix of equal rows") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : kDTypes) {
      for (const auto stores : {cpu::Stores::kCached, cpu::Stores::kStreaming}) {
        for (const std::int64_t hidden_size : {5, 100, 256, 2049}) {
          Problem problem{{37, hidden_size}, dtype, WeightKind::kSame, {}, dtype, false,
                          Values::kFinite,   41};
          problem.residual = true;
          INFO(describe(*variant) << ": " << describe(problem));
          const Layout layout{.stores = stores};
          ForwardBuffers forward(problem, layout);
          ForwardBuffers broadcast_forward(problem, layout);
          BackwardBuffers backward(problem, layout);
          BackwardBuffers broadcast_backward(problem, layout);
          for (Matrix* matrix : {&forward.x, &forward.residual, &backward.dy, &backward.dsum}) {
            copy_first_row(*matrix);
          }
          broadcast_forward.args.x.row_stride = 0;
          broadcast_forward.args.residual.row_stride = 0;
          broadcast_backward.args.dy.row_stride = 0;
          broadcast_backward.args.dsum.row_stride = 0;
          for (ForwardBuffers* buffers : {&forward, &broadcast_forward}) {
            forward_with(*variant, buffers->args, layout);
          }
          for (BackwardBuffers* buffers : {&backward, &broadcast_backward}) {
            backward_with(*variant, buffers->args, layout);
          }
          CHECK(difference(forward.y, broadcast_forward.y, Values::kFinite) == "");
          CHECK(difference(forward.sum_out, broadcast_forward.sum_out, Values::kFinite) == "");
          CHECK(difference(backward.dx, broadcast_backward.dx, Values::kFinite) == "");
          CHECK(difference(backward.dweight, broadcast_backward.dweight, Values::kFinite) == "");
        }
      }
    }
  }
}

// Heads of a fused QKV projection: each token has kHeads rows of Q, then as many of K and of V.
constexpr std::int64_t kTokens = 11;
constexpr std::int64_t kHeads = 3;

TEST_CASE("the heads of Q are normalised in place between those of K and V") {
  for (const cpu::Variant* variant : supported_variants()) {
    for (const DType dtype : kDTypes) {
      for (const auto stores : {cpu::Stores::kCached, cpu::Stores::kStreaming}) {
        for (const std::int64_t hidden_size : {1, 7, 33, 64, 100, 128, 300}) {
          const Problem problem{{kTokens * 3 * kHeads, hidden_size},
                                dtype,
                                WeightKind::kSame,
                                {},
                                dtype,
                                false,
                                Values::kFinite,
                                42};
          INFO(describe(*variant) << ": " << describe(problem));
          const ForwardBuffers expected = expected_forward(problem);
          ForwardBuffers forward(problem, {});
          ForwardArgs& args = forward.args;
          args.shape.rows = kTokens * kHeads;
          args.rstd = nullptr;
          args.x.batch_rows = kHeads;
          args.x.batch_stride = 3 * kHeads * hidden_size;
          args.y = {forward.x.row(0), hidden_size, kHeads, args.x.batch_stride};
          forward_with(*variant, args, {.stores = stores});
          const ForwardBuffers untouched(problem, {});
          int wrong = 0;
          for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
            const Matrix& matrix = r / kHeads % 3 == 0 ? expected.y : untouched.x;
            wrong += std::memcmp(forward.x.row(r), matrix.row(r), matrix.row_bytes()) != 0;
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
