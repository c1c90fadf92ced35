// Codes against their definition, the nearest of 256 numbers; and every variant's quantised forward
// against a forward whose results this test quantises.

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "cpu/backend.h"
#include "op/quantize.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kCodes[] = {DType::kInt8, DType::kFloat8E4M3, DType::kFloat8E5M2};

// The number a code stands for, by the definition of its format; NaN for codes that stand for none.
double number_of(DType codes, int code) {
  if (codes == DType::kInt8) return static_cast<std::int8_t>(code);
  const bool is_e4m3 = codes == DType::kFloat8E4M3;
  const int fraction_bits = is_e4m3 ? 3 : 2;
  const int exponent = (code & 0x7f) >> fraction_bits;
  const int fraction = code & ((1 << fraction_bits) - 1);
  const int bias = is_e4m3 ? 7 : 15;
  if (is_e4m3 ? (code & 0x7f) == 0x7f : exponent == 31 && fraction > 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const double magnitude = exponent == 31 && !is_e4m3 ? HUGE_VAL
                           : exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                           : std::ldexp((1 << fraction_bits) + fraction,
                                                        exponent - bias - fraction_bits);
  return code < 0x80 ? magnitude : -magnitude;
}

// The code nearest to a number: the even one of two, and the largest code for numbers beyond it.
int nearest_code(DType codes, float value) {
  if (std::isnan(value)) return codes == DType::kInt8 ? 0 : 0x7f;
  const double largest = static_cast<double>(largest_code(codes));
  const double number_in_range =
      std::clamp<double>(value, codes == DType::kInt8 ? -128 : -largest, largest);
  int best = -1;
  double least = HUGE_VAL;
  for (int code = 0; code < 256; ++code) {
    const double number = number_of(codes, code);
    if (!std::isfinite(number)) continue;
    if (codes != DType::kInt8 && (code >= 0x80) != std::signbit(value)) continue;
    const double distance = std::abs(number - number_in_range);
    if (distance < least || (distance == least && code % 2 == 0)) {
      best = code;
      least = distance;
    }
  }
  return best;
}

// Numbers around every boundary at which rounding changes, and random ones.
std::vector<float> numbers_for(DType codes) {
  std::vector<float> numbers{0.0f, -0.0f, HUGE_VALF, -HUGE_VALF, std::nanf(""), 1e-45f};
  for (int code = 0; code < 256; ++code) {
    for (const int other : {code, code + 1}) {
      const double middle = (number_of(codes, code) + number_of(codes, other & 0xff)) / 2;
      if (!std::isfinite(middle)) continue;
      const auto near = static_cast<float>(middle);
      numbers.insert(numbers.end(),
                     {near, std::nextafter(near, HUGE_VALF), std::nextafter(near, -HUGE_VALF)});
    }
  }
  Random random(3);
  for (int i = 0; i < 20000; ++i) numbers.push_back(std::bit_cast<float>(random.bits()));
  return numbers;
}

TEST_CASE("a code is the one nearest to its number, and at most the largest") {
  for (const DType codes : kCodes) {
    for (const float number : numbers_for(codes)) {
      CAPTURE(static_cast<int>(codes));
      CAPTURE(number);
      REQUIRE(static_cast<int>(code_of(codes, number)) == nearest_code(codes, number));
    }
  }
}

TEST_CASE("float8 codes convert to the numbers of their format and back") {
  for (const DType codes : {DType::kFloat8E4M3, DType::kFloat8E5M2}) {
    std::vector<std::uint8_t> all(256);
    std::vector<float> values(256);
    for (int code = 0; code < 256; ++code)
      all[static_cast<std::size_t>(code)] = static_cast<std::uint8_t>(code);
    REQUIRE(cpu::convert(codes, all.data(), DType::kFloat32, values.data(), 256).ok());
    for (int code = 0; code < 256; ++code) {
      const double expected = number_of(codes, code);
      const double actual = values[static_cast<std::size_t>(code)];
      CAPTURE(code);
      CHECK((std::isnan(expected) ? std::isnan(actual) : actual == expected));
      CHECK((std::isnan(expected) || std::signbit(actual) == (code >= 0x80)));
    }
    std::vector<std::uint8_t> back(256);
    REQUIRE(cpu::convert(DType::kFloat32, values.data(), codes, back.data(), 256).ok());
    for (int code = 0; code < 256; ++code) {
      const float value = values[static_cast<std::size_t>(code)];
      CHECK(back[static_cast<std::size_t>(code)] == nearest_code(codes, value));
    }
  }
}

// y as the contract defines it before quantisation, from the rstd of an unquantised forward.
std::vector<float> y_of_row(const Problem& problem, const ForwardBuffers& unquantized,
                            std::int64_t row) {
  const Matrix& x = problem.residual ? unquantized.sum() : unquantized.x;
  const auto rstd = static_cast<float>(unquantized.rstd.value(0, row));
  const bool rounds = problem.options.cast_order == CastOrder::kLlama;
  Matrix rounded(problem.dtype, 1, 1);
  const auto round = [&](float value) {
    if (!rounds) return value;
    rounded.set(0, 0, static_cast<double>(value));
    return static_cast<float>(rounded.value(0, 0));
  };
  std::vector<float> y;
  for (std::int64_t j = 0; j < problem.shape.hidden_size; ++j) {
    float value = static_cast<float>(x.value(row, j)) * rstd;
    if (problem.weight != WeightKind::kNone) {
      const auto w = static_cast<float>(unquantized.weight.value(0, j));
      const auto offset = static_cast<float>(problem.options.weight_offset);
      value = round(value) * (offset == 0 ? w : w + offset);
    }
    y.push_back(round(value));
  }
  return y;
}

struct QuantizedCase {
  Quantization quantization;
  bool wants_scales;
};

std::string wrong_row(const std::vector<float>& y, const QuantizedCase& quantized,
                      const std::uint8_t* codes, float scale) {
  const auto& [codes_dtype, static_scale, scale_max] = quantized.quantization;
  float expected_scale = static_scale;
  if (static_scale == 0) {
    float largest = 0;
    for (const float value : y) {
      if (std::isnan(value) || std::isnan(largest)) {
        largest = std::nanf("");
      } else {
        largest = std::max(largest, std::abs(value));
      }
    }
    expected_scale = largest / largest_code(codes_dtype);
    if (expected_scale > scale_max) expected_scale = scale_max;
    const bool is_right = std::isnan(expected_scale) ? std::isnan(scale) : scale == expected_scale;
    if (quantized.wants_scales && !is_right) {
      return "scale " + std::to_string(scale) + " is not " + std::to_string(expected_scale);
    }
  }
  const float inverse = 1 / expected_scale;
  for (std::size_t j = 0; j < y.size(); ++j) {
    const float quotient = static_scale != 0     ? y[j] * inverse
                           : expected_scale == 0 ? 0.0f
                                                 : y[j] / expected_scale;
    const int expected = nearest_code(codes_dtype, quotient);
    if (codes[j] == expected) continue;
    return "column " + std::to_string(j) + ": code " + std::to_string(codes[j]) + " is not " +
           std::to_string(expected);
  }
  return "";
}

// Describes what is wrong with a variant's quantised forward of a problem; empty if nothing is.
std::string complaint_about(const cpu::Variant& variant, const Problem& problem,
                            const Layout& layout, const QuantizedCase& quantized,
                            const ForwardBuffers& unquantized) {
  const auto& [rows, hidden_size] = problem.shape;
  ForwardBuffers buffers(problem, layout);
  const std::int64_t stride = hidden_size + layout.padding;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * stride + layout.misaligned_out),
                                  0xaa);
  std::vector<float> scales(static_cast<std::size_t>(rows), -1.0f);
  std::uint8_t* const first = codes.data() + layout.misaligned_out;
  buffers.args.y = {first, stride};
  buffers.args.quantization = quantized.quantization;
  buffers.args.scales = quantized.wants_scales ? scales.data() : nullptr;
  forward_with(variant, buffers.args, layout);
  for (std::int64_t row = 0; row < rows; ++row) {
    const float scale = scales[static_cast<std::size_t>(row)];
    const std::string wrong =
        wrong_row(y_of_row(problem, unquantized, row), quantized, first + row * stride, scale);
    if (!wrong.empty()) return "row " + std::to_string(row) + ": " + wrong;
    for (std::int64_t j = hidden_size; j < stride; ++j) {
      if (first[row * stride + j] != 0xaa) return "written between rows";
    }
  }
  for (std::int64_t i = 0; i < layout.misaligned_out; ++i) {
    if (codes[static_cast<std::size_t>(i)] != 0xaa) return "written before the first row";
  }
  return "";
}

// The largest sizes exceed what is quantised at once.
constexpr std::int64_t kSizes[] = {1,   7,   8,   15,  16,   17,   31,   32,   33,   64,
                                   100, 128, 256, 257, 1000, 4096, 5125, 8192, 8200, 20011};

TEST_CASE("every variant's quantised forward equals quantising the results of forward") {
  Random random(19);
  const auto one_of = [&](auto... values) {
    const std::common_type_t<decltype(values)...> all[] = {values...};
    return all[random.below(sizeof...(values))];
  };
  for (int i = 0; i < 800; ++i) {
    const std::int64_t hidden_size = kSizes[random.below(std::size(kSizes))];
    Problem problem{};
    problem.shape = {random.below(hidden_size > 1000 ? 5 : 40), hidden_size};
    problem.dtype = one_of(DType::kFloat32, DType::kFloat16, DType::kBFloat16);
    const bool is_float32 = problem.dtype == DType::kFloat32;
    problem.weight = one_of(WeightKind::kNone, WeightKind::kSame,
                            is_float32 ? WeightKind::kSame : WeightKind::kFloat32);
    problem.options.cast_order = one_of(CastOrder::kLlama, CastOrder::kFloat);
    problem.options.eps = one_of(1e-6, 0.0, 0.5);
    problem.options.weight_offset = one_of(0.0, 0.0, 1.0);
    problem.dweight_dtype = problem.dtype;
    problem.values =
        one_of(Values::kFinite, Values::kThreshold, Values::kExtreme, Values::kSpecial);
    problem.seed = static_cast<std::uint64_t>(i);
    problem.residual = random.once_in(4);
    Layout layout{};
    layout.padding = random.once_in(2) ? random.below(40) : 0;
    layout.misaligned = random.below(4);
    layout.misaligned_out = random.below(40);
    layout.stores = one_of(cpu::Stores::kCached, cpu::Stores::kStreaming);
    QuantizedCase quantized{};
    quantized.quantization.codes = kCodes[random.below(3)];
    if (random.once_in(3)) quantized.quantization.scale = one_of(0.01f, 1.0f, 3e-38f, 3e38f);
    if (random.once_in(4)) quantized.quantization.scale_max = one_of(0.002f, 1e-30f, 1e30f);
    quantized.wants_scales = quantized.quantization.scale == 0 && !random.once_in(4);
    const ForwardBuffers unquantized = expected_forward(problem);
    for (const cpu::Variant* variant : supported_variants()) {
      CAPTURE(describe(*variant));
      CAPTURE(describe(problem));
      CAPTURE(describe(layout));
      CAPTURE(static_cast<int>(quantized.quantization.codes));
      CAPTURE(quantized.quantization.scale);
      REQUIRE(complaint_about(*variant, problem, layout, quantized, unquantized) == "");
    }
  }
}

TEST_CASE("a row of zeros has codes of zero, and NaN stays in its row") {
  const Shape shape{3, 100};
  std::vector<float> x(300, 0.0f);
  for (std::size_t j = 0; j < 100; ++j) x[100 + j] = static_cast<float>(j);
  x[250] = std::nanf("");
  for (const DType codes : kCodes) {
    std::vector<std::uint8_t> y(300, 1);
    std::vector<float> scales(3, -1.0f);
    ForwardArgs args{shape, {}, DType::kFloat32, {x.data(), 100}, {}, {y.data(), 100}, nullptr};
    args.quantization.codes = codes;
    args.scales = scales.data();
    REQUIRE(cpu::forward(args).ok());
    CHECK(scales[0] == 0);
    CHECK(std::isnan(scales[2]));
    for (std::size_t j = 0; j < 100; ++j) {
      CHECK(y[j] == 0);
      CHECK(y[200 + j] == (codes == DType::kInt8 ? 0 : 0x7f));
    }
    CHECK(y[199] == code_of(codes, largest_code(codes)));
  }
}

}  // namespace
}  // namespace rmsnorm::test
