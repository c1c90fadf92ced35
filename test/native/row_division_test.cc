// Dividing rows by their scales as the CUDA kernels do, against true division, and the resulting
// codes.
#include "cuda/kernels/row_division.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "op/quantize.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kCodes[] = {DType::kInt8, DType::kFloat8E4M3, DType::kFloat8E5M2};

float with_exponent(Random& random, int least, int most) {
  const int exponent = least + static_cast<int>(random.below(most - least + 1));
  const float significand = 1.0f + static_cast<float>(random.bits() >> 9) * 0x1p-23f;
  return std::ldexp(random.once_in(2) ? significand : -significand, exponent);
}

std::string described(float y, float scale) {
  char text[64];
  std::snprintf(text, sizeof text, "%a / %a", static_cast<double>(y), static_cast<double>(scale));
  return text;
}

float quotient_in_row(float y, float scale, std::uint32_t largest) {
  const cuda::RowDivision division = cuda::row_division(scale, largest);
  const float ready = division.is_ready ? y : cuda::made_ready(y, division);
  return cuda::quotient(ready, division.divisor, 1 / division.divisor);
}

// Describes the division if its code differs from that of true division; empty otherwise.
std::string code_complaint(float y, std::uint32_t largest, const Quantization& quantization) {
  const float scale = scale_of(largest, quantization);
  const float found = quotient_in_row(y, scale, largest);
  const float wanted = quotient_of(y, scale, true);
  for (const DType codes : kCodes) {
    if (code_of(codes, found) != code_of(codes, wanted)) return described(y, scale);
  }
  return "";
}

TEST_CASE("row division: quotients have the bits of true division for any significands") {
  Random random(1);
  std::string complaint;
  for (int i = 0; i < 20'000'000 && complaint.empty(); ++i) {
    const float scale = std::fabs(with_exponent(random, -20, 20));
    // Two of three quotients lie next to the midpoint of two floats.
    float y = with_exponent(random, -30, 30);
    if (i % 3 != 0) {
      const double middle = static_cast<double>(y) + static_cast<double>(std::nextafter(y, 0.0f));
      y = static_cast<float>(middle / 2 * static_cast<double>(scale));
    }
    const float found = quotient_in_row(y, scale, magnitude_bits(0x1p60f));
    if (found != y / scale) complaint = described(y, scale);
  }
  CHECK(complaint == "");
}

TEST_CASE("row division: codes are those of true division for any row") {
  Random random(2);
  std::string complaint;
  for (int i = 0; i < 5'000'000 && complaint.empty(); ++i) {
    Quantization quantization{.codes = kCodes[random.below(3)]};
    if (random.once_in(3)) quantization.scale_max = std::fabs(with_exponent(random, -149, 127));
    const float amax = std::fabs(with_exponent(random, -149, 127));
    // From the row's largest magnitude down to where the code is 0, and below.
    const float y = random.once_in(8) ? amax : with_exponent(random, -40, -1) * amax;
    complaint = code_complaint(y, magnitude_bits(amax), quantization);
  }
  CHECK(complaint == "");
}

TEST_CASE(
    "row division: codes are those of true division for zeros, extremes, infinities and NaN") {
  constexpr float kInfinity = HUGE_VALF;
  const float nan = std::nanf("");
  const float values[] = {0.0f,     0x1p-149f,  0x1.8p-140f, 0x1p-126f, 0x1p-100f, 0x1p-60f,
                          0x1p-30f, 1.0f,       447.0f,      0x1p30f,   0x1p60f,   0x1.8p60f,
                          0x1p100f, 0x1.8p127f, kInfinity,   nan};
  for (const float amax : values) {
    for (const float magnitude : values) {
      if (magnitude_bits(magnitude) > magnitude_bits(amax)) continue;
      for (const float most : {0x1p-149f, 0x1p-126f, 0x1p-70f, 1e-3f, 1e20f, 0x1p127f, kInfinity}) {
        for (const DType codes : kCodes) {
          const Quantization quantization{.codes = codes, .scale_max = most};
          CHECK(code_complaint(magnitude, magnitude_bits(amax), quantization) == "");
          CHECK(code_complaint(-magnitude, magnitude_bits(amax), quantization) == "");
        }
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
