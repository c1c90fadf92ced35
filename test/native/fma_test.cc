// Scalar is correct only if the C library's fma rounds once. The reference is the processor's own
// instruction, which the other variants use.

#include <doctest/doctest.h>

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <limits>

#include "cpu/features.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

[[gnu::target("fma")]] float instruction(float a, float b, float c) {
  return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}
[[gnu::target("fma")]] double instruction(double a, double b, double c) {
  return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c)));
}

template <class Float>
class Operands {
 public:
  static constexpr int kFractionBits = std::numeric_limits<Float>::digits - 1;

  // Two random factors and a term that interact. They are near the end of the exponent range or
  // near each other's last bits. Their fractions have sums that are often ties.
  void draw() {
    const int middle = one_of(-kSmallest, 0, kSmallest / 2, -kSmallest / 2);
    const int other = one_of(0, -middle, middle / 2, kSmallest);
    a = number(middle);
    b = number(other);
    c = number(middle + other + one_of(0, -kFractionBits, kFractionBits, -2 * kFractionBits));
    if (random_.once_in(8)) c = -(a * b);
    if (random_.once_in(16)) c = one_of(0.0, -0.0, kInfinity, -kInfinity, kNaN);
    if (random_.once_in(64)) a = one_of(0.0, -0.0, kInfinity, -kInfinity, kNaN);
  }

  Float a, b, c;

 private:
  static constexpr int kSmallest =
      std::numeric_limits<Float>::min_exponent;  // an exponent of 2, negative
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  template <class T, class... Others>
  auto one_of(T first, Others... others) {
    const T choices[] = {first, others...};
    return choices[random_.below(std::ssize(choices))];
  }

  Float number(int exponent) {
    const std::uint64_t bits = std::uint64_t{random_.bits()} << 32 | random_.bits();
    const std::uint64_t ones = (std::uint64_t{1} << kFractionBits) - 1;
    const std::uint64_t fraction = one_of(bits, bits, bits << random_.below(60), ones, ones + 2,
                                          std::uint64_t{1} << random_.below(kFractionBits));
    const Float magnitude =
        std::ldexp(static_cast<Float>(fraction & (2 * ones + 1)),
                   exponent - kFractionBits + static_cast<int>(random_.below(7)) - 3);
    return random_.once_in(2) ? magnitude : -magnitude;
  }

  Random random_{42};
};

template <class Float>
bool same(Float x, Float y) {
  return std::isnan(x) ? std::isnan(y) : x == y && std::signbit(x) == std::signbit(y);
}

TEST_CASE_TEMPLATE("the C library's fma rounds once", Float, float, double) {
  if ((cpu::cpu_features() & cpu::kFeaturesAvx2) != cpu::kFeaturesAvx2) return;
  Operands<Float> draw;
  int wrong = 0;
  int subnormal = 0;
  int infinite = 0;
  for (int i = 0; i < 300000; ++i) {
    draw.draw();
    const Float expected = instruction(draw.a, draw.b, draw.c);
    wrong += !same(std::fma(draw.a, draw.b, draw.c), expected);
    subnormal += std::fpclassify(expected) == FP_SUBNORMAL;
    infinite += std::isinf(expected) && std::isfinite(draw.a) && std::isfinite(draw.c);
  }
  CHECK(wrong == 0);
  CHECK(subnormal > 1000);
  CHECK(infinite > 1000);
}

}  // namespace
}  // namespace rmsnorm::test
#endif
