// Every variant's convert against the definition in float16.h.

#include <doctest/doctest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "op/float16.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// For a 16-bit type, every value. For float32, each boundary at which rounding to a 16-bit type
// changes, with its two neighbours, and random bits.
Matrix all_values(DType dtype) {
  std::vector<std::uint32_t> bits;
  if (dtype != DType::kFloat32) {
    for (std::uint32_t i = 0; i < 0x10000; ++i) bits.push_back(i);
  } else {
    const auto add_around = [&](std::uint32_t value) {
      for (const std::uint32_t neighbour : {value - 1, value, value + 1}) bits.push_back(neighbour);
    };
    for (std::uint32_t i = 0; i < 0x10000; ++i) {
      add_around(i << 16 | 0x8000);
      const auto half = static_cast<std::uint16_t>(i);
      const auto next = static_cast<std::uint16_t>(i + 1);
      add_around(
          std::bit_cast<std::uint32_t>((to_float(Float16{half}) + to_float(Float16{next})) * 0.5f));
    }
    Random random(5);
    for (int i = 0; i < 100000; ++i) bits.push_back(random.bits());
  }
  Matrix values(dtype, 1, static_cast<std::int64_t>(bits.size()));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    values.set_bits(0, static_cast<std::int64_t>(i), bits[i]);
  }
  return values;
}

TEST_CASE("every variant converts every value as scalar does") {
  for (const DType from : kDTypes) {
    const Matrix source = all_values(from);
    for (const DType to : kDTypes) {
      Matrix expected(to, 1, source.columns());
      cpu::kScalar.convert(from, source.row(0), to, expected.row(0), source.columns());
      for (const cpu::Variant* variant : supported_variants()) {
        CAPTURE(describe(*variant));
        CAPTURE(static_cast<int>(from));
        CAPTURE(static_cast<int>(to));
        Matrix actual(to, 1, source.columns());
        variant->convert(from, source.row(0), to, actual.row(0), source.columns());
        CHECK(difference(expected, actual, Values::kSpecial) == "");
      }
    }
  }
}

TEST_CASE("every variant converts any number of elements at any address") {
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      for (std::int64_t count = 0; count < 70; ++count) {
        Matrix source(from, 1, count, 0, count % 3);
        Random random(static_cast<std::uint64_t>(count));
        for (std::int64_t i = 0; i < count; ++i) {
          source.set(0, i, static_cast<float>(random.below(100000)) * 0x1p-10f);
        }
        Matrix expected(to, 1, count);
        cpu::kScalar.convert(from, source.row(0), to, expected.row(0), count);
        for (const cpu::Variant* variant : supported_variants()) {
          CAPTURE(describe(*variant));
          CAPTURE(count);
          Matrix actual(to, 1, count, 0, count % 2);
          variant->convert(from, source.row(0), to, actual.row(0), count);
          CHECK(difference(expected, actual, Values::kFinite) == "");
          CHECK(actual.padding_is_intact());
        }
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
