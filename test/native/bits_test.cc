// Every machine gives the same bits: hashes of results, computed once by scalar on x86-64. A
// changed hash means a changed numerics contract.

#include <doctest/doctest.h>

#include "support.h"

namespace rmsnorm::test {
namespace {

// FNV-1a over the bytes of a matrix. Every NaN hashes alike.
std::uint64_t hash(std::uint64_t state, const Matrix& matrix) {
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (std::int64_t j = 0; j < matrix.columns(); ++j) {
      const std::uint64_t bits = matrix.is_nan(r, j) ? ~std::uint64_t{0} : matrix.bits(r, j);
      for (std::int64_t i = 0; i < element_size(matrix.dtype()); ++i) {
        state = (state ^ (bits >> 8 * i & 0xff)) * 0x100000001b3u;
      }
    }
  }
  return state;
}
constexpr std::uint64_t kHashStart = 0xcbf29ce484222325u;

constexpr DType kFloat32 = DType::kFloat32;
constexpr DType kFloat16 = DType::kFloat16;
constexpr DType kBFloat16 = DType::kBFloat16;
constexpr DType kFloat64 = DType::kFloat64;
constexpr CastOrder kLlama = CastOrder::kLlama;
constexpr CastOrder kFloat = CastOrder::kFloat;

struct Case {
  Problem problem;
  std::uint64_t forward;   // of y and rstd, and of sum_out if there is one
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

constexpr Case with_residual(Case base) {
  base.problem.residual = true;
  return base;
}

constexpr Case extreme(Case base) {
  base.problem.values = Values::kExtreme;
  return base;
}

constexpr Case kCases[] = {
    make_case({5, 7}, kFloat32, WeightKind::kNone, {1e-6f, 0.0f, kLlama}, kFloat32, false,
              0xe0012309d4b34f3a, 0x0d28fc07731e2e83),
    make_case({33, 64}, kFloat32, WeightKind::kSame, {1e-5f, 0.0f, kLlama}, kFloat32, true,
              0x7eb2066904c6163d, 0x98b69120c50e0428),
    make_case({40, 500}, kFloat32, WeightKind::kSame, {1e-6f, 1.0f, kFloat}, kFloat32, false,
              0x2ccc38f1fb5a0600, 0x83f7428a7ffc9a97),
    make_case({9, 5125}, kFloat32, WeightKind::kSame, {1e-6f, -1.5f, kLlama}, kFloat32, false,
              0xc6fe43016644562a, 0x7b15472256908f0f),
    make_case({33, 769}, kFloat16, WeightKind::kSame, {1e-6f, 0.0f, kLlama}, kFloat16, false,
              0xb2d92f5277588e4a, 0x7e2039f77e9637c7),
    make_case({17, 1000}, kFloat16, WeightKind::kFloat32, {1e-6f, 1.0f, kFloat}, kFloat32, true,
              0x5f8d7a5da903182d, 0x22b15bffd7696061),
    make_case({8, 300}, kFloat16, WeightKind::kNone, {1e-5f, 0.0f, kLlama}, kFloat16, false,
              0x61fdedb306bfe06e, 0x45961af37f6529b5),
    make_case({1120, 9}, kFloat16, WeightKind::kSame, {1e-6f, -1.5f, kFloat}, kFloat16, true,
              0xb392adef1958eeff, 0x60462f6d49aee945),
    make_case({20, 4096}, kBFloat16, WeightKind::kSame, {1e-6f, 0.0f, kLlama}, kBFloat16, false,
              0xa9369d71e724c80b, 0xf828cdabc47c5604),
    make_case({3, 2049}, kBFloat16, WeightKind::kFloat32, {1e-6f, 1.0f, kLlama}, kFloat32, false,
              0x44f42d144a31e96a, 0x2c759207940083a9),
    make_case({40, 111}, kBFloat16, WeightKind::kSame, {1e-6f, 1.0f, kFloat}, kBFloat16, true,
              0x93ccf4dd6cdf5fa0, 0x056394573b0139ce),
    make_case({2, 70001}, kBFloat16, WeightKind::kNone, {1e-6f, 0.0f, kFloat}, kFloat32, false,
              0x5fc2ff6efed4080d, 0x0a9697d86c737c09),
    make_case({1, 300001}, kFloat32, WeightKind::kSame, {1e-6f, 0.0f, kLlama}, kFloat32, false,
              0xe25eec694369bd7f, 0x7acaf7eebfebf3fe),
    with_residual(make_case({21, 700}, kFloat32, WeightKind::kSame, {}, kFloat32, false,
                            0x166c613c95f7ebec, 0xec3d900d4c897f81)),
    with_residual(make_case({17, 333}, kFloat16, WeightKind::kSame, {}, kFloat16, false,
                            0xd3429a0c2c057faa, 0xd3619da1804f5925)),
    with_residual(make_case({19, 2049}, kBFloat16, WeightKind::kSame, {}, kFloat32, false,
                            0xa40da26f35669d61, 0x096f8198f34e6bed)),
    extreme(make_case({60, 500}, kFloat32, WeightKind::kNone, {0.0}, kFloat32, false,
                      0x5ff6932f32d60bc8, 0xeacca62b72becd0f)),
    extreme(make_case({61, 300}, kBFloat16, WeightKind::kSame, {0.0}, kBFloat16, false,
                      0xbf9fb9e16571e7e8, 0xb6216c7eacf8693c)),
    extreme(make_case({62, 3000}, kFloat32, WeightKind::kSame, {}, kFloat32, false,
                      0xf904ced9b064cb2d, 0xd0c7d3ae8e1ed846)),
    make_case({40, 500}, kFloat64, WeightKind::kSame, {1e-6, 1.0}, kFloat64, true,
              0x97e4f23e7185d3ae, 0x62c647ad8f69b794),
    make_case({9, 5125}, kFloat64, WeightKind::kNone, {}, kFloat64, false, 0x6ba78d6a6d493e4b,
              0x989cf913068a7151),
    with_residual(make_case({1120, 9}, kFloat64, WeightKind::kSame, {}, kFloat64, false,
                            0xcb5d9e19c7d46cc8, 0x750b57248c5b4861)),
    extreme(make_case({63, 300}, kFloat64, WeightKind::kSame, {0.0}, kFloat64, false,
                      0xd7dbdd8c20138ef5, 0xd091b20f212908f0)),
};

TEST_CASE("every machine gives the same bits") {
  for (const Case& expected : kCases) {
    for (const cpu::Variant* variant : supported_variants()) {
      INFO(describe(*variant) << ": " << describe(expected.problem));
      ForwardBuffers forward(expected.problem, {});
      forward_with(*variant, forward.args, {});
      const std::uint64_t found = hash(hash(kHashStart, forward.y), forward.rstd);
      CHECK(hash(found, forward.sum_out) == expected.forward);
      BackwardBuffers backward(expected.problem, {});
      backward_with(*variant, backward.args, {});
      CHECK(hash(hash(kHashStart, backward.dx), backward.dweight) == expected.backward);
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
