// The same bits on every machine: hashes of results, computed once by scalar on x86-64. A change
// here is a change of the numerics contract.

#include <doctest/doctest.h>

#include "support.h"

namespace rmsnorm::test {
namespace {

// FNV-1a over the bytes of a matrix.
std::uint64_t hash(std::uint64_t state, const Matrix& matrix) {
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    const auto* bytes = static_cast<const unsigned char*>(matrix.row(r));
    for (std::size_t i = 0; i < matrix.row_bytes(); ++i) {
      state = (state ^ bytes[i]) * 0x100000001b3u;
    }
  }
  return state;
}
constexpr std::uint64_t kHashStart = 0xcbf29ce484222325u;

constexpr DType kFloat32 = DType::kFloat32;
constexpr DType kFloat16 = DType::kFloat16;
constexpr DType kBFloat16 = DType::kBFloat16;
constexpr CastOrder kLlama = CastOrder::kLlama;
constexpr CastOrder kFloat = CastOrder::kFloat;

struct Case {
  Problem problem;
  std::uint64_t forward;   // of y and rstd
  std::uint64_t backward;  // of dx and dweight
};

constexpr Case make_case(Shape shape, DType dtype, WeightKind weight, Options options,
                         DType dweight_dtype, bool accumulate, std::uint64_t forward,
                         std::uint64_t backward) {
  const auto seed = static_cast<std::uint64_t>(shape.rows + shape.hidden_size);
  return {{shape, dtype, weight, options, dweight_dtype, accumulate, Values::kFinite, seed},
          forward,
          backward};
}

constexpr Case kCases[] = {
    make_case({5, 7}, kFloat32, WeightKind::kNone, {1e-6f, 0.0f, kLlama}, kFloat32, false,
              0xaa6cf7cc9ae579c7, 0x7d5ccb981327e1d7),
    make_case({33, 64}, kFloat32, WeightKind::kSame, {1e-5f, 0.0f, kLlama}, kFloat32, true,
              0x541aa6790189e523, 0x05ddb2f4cc37f479),
    make_case({40, 500}, kFloat32, WeightKind::kSame, {1e-6f, 1.0f, kFloat}, kFloat32, false,
              0x95c28f415e5c4863, 0x97a20e22d96d0103),
    make_case({9, 5125}, kFloat32, WeightKind::kSame, {1e-6f, -1.5f, kLlama}, kFloat32, false,
              0xb7e9b7e27439bc96, 0xe827e9712c479285),
    make_case({33, 769}, kFloat16, WeightKind::kSame, {1e-6f, 0.0f, kLlama}, kFloat16, false,
              0xbe1ede5599533fce, 0x0dac64ebfeed9118),
    make_case({17, 1000}, kFloat16, WeightKind::kFloat32, {1e-6f, 1.0f, kFloat}, kFloat32, true,
              0x15883f6150492dc9, 0x8e1d8bdb599d3db4),
    make_case({8, 300}, kFloat16, WeightKind::kNone, {1e-5f, 0.0f, kLlama}, kFloat16, false,
              0x30b3494163f4fc5c, 0x5275f316190bd35d),
    make_case({1120, 9}, kFloat16, WeightKind::kSame, {1e-6f, -1.5f, kFloat}, kFloat16, true,
              0x07ff402ee90493f3, 0xd13024b0f920b64e),
    make_case({20, 4096}, kBFloat16, WeightKind::kSame, {1e-6f, 0.0f, kLlama}, kBFloat16, false,
              0x8a0054e3f90cd917, 0x488cea3bec33026a),
    make_case({3, 2049}, kBFloat16, WeightKind::kFloat32, {1e-6f, 1.0f, kLlama}, kFloat32, false,
              0xc897b5b11968cc8c, 0xb62cd522b8ad9140),
    make_case({40, 111}, kBFloat16, WeightKind::kSame, {1e-6f, 1.0f, kFloat}, kBFloat16, true,
              0xfa45c9a2e148c0b5, 0x3802e1483a964b7e),
    make_case({2, 70001}, kBFloat16, WeightKind::kNone, {1e-6f, 0.0f, kFloat}, kFloat32, false,
              0x98f451266e0a58a8, 0xae30c82549c0c9a9),
};

TEST_CASE("the same bits on every machine") {
  for (const Case& expected : kCases) {
    for (const cpu::Variant* variant : supported_variants()) {
      INFO(describe(*variant) << ": " << describe(expected.problem));
      ForwardBuffers forward(expected.problem, {});
      forward_with(*variant, forward.args, {});
      CHECK(hash(hash(kHashStart, forward.y), forward.rstd) == expected.forward);
      BackwardBuffers backward(expected.problem, {});
      backward_with(*variant, backward.args, {});
      CHECK(hash(hash(kHashStart, backward.dx), backward.dweight) == expected.backward);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
