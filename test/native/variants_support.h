// Random calls that cover the combinations of options, the same in every run, and the check of
// every variant against scalar.
#pragma once

#include <doctest/doctest.h>

#include "support.h"

namespace rmsnorm::test {

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                                    DType::kFloat64};

inline constexpr float kOffsets[] = {0.0f, 1.0f, -1.5f};

template <class T, std::size_t kCount>
T one_of(Random& random, const T (&values)[kCount]) {
  return values[random.below(kCount)];
}

// Calls function(problem) for each distinct combination of weight type, cast order and offset.
template <class Function>
void for_each_kind(DType dtype, const Function& function) {
  for (const auto weight : {WeightKind::kNone, WeightKind::kSame, WeightKind::kFloat32}) {
    for (const auto order : {CastOrder::kLlama, CastOrder::kFloat}) {
      for (const float offset : kOffsets) {
        const bool is_16_bit = dtype == DType::kFloat16 || dtype == DType::kBFloat16;
        if (!is_16_bit && weight == WeightKind::kFloat32) continue;
        if (dtype == DType::kFloat64 && order != CastOrder::kLlama) continue;
        if (weight == WeightKind::kNone && offset != 0.0f) continue;
        Problem problem{};
        problem.dtype = dtype;
        problem.weight = weight;
        problem.options = {1e-6f, offset, order};
        function(problem);
      }
    }
  }
}

inline Layout any_layout(Random& random, const Problem& problem) {
  // None, one element, a pack of 16 bytes, or any distance below a cache line.
  const std::int64_t line = Matrix::kAlignment / element_size(problem.dtype);
  const std::int64_t until_line = (line - problem.shape.hidden_size % line) % line;
  const auto distance = [&] {
    return one_of(random, {std::int64_t{0}, std::int64_t{1}, line / 4, random.below(line)});
  };
  Layout layout;
  layout.padding = random.once_in(2) ? until_line : distance();
  layout.misaligned = distance();
  layout.misaligned_out = distance();
  layout.in_place = one_of(random, {InPlace::kNo, InPlace::kX, InPlace::kDy, InPlace::kResidual});
  layout.sum_in_place = one_of(random, {InPlace::kNo, InPlace::kX, InPlace::kResidual});
  if (layout.sum_in_place == layout.in_place) layout.sum_in_place = InPlace::kNo;
  if (random.once_in(3)) {
    layout.batch_rows = 1 + random.below(9);
    layout.batch_padding = distance();
  }
  layout.rstd_given = random.once_in(2);
  const std::int64_t wanted = random.below(4);
  layout.dx = wanted != 0;
  layout.dweight = wanted != 1;
  layout.stores = random.once_in(2) ? cpu::Stores::kStreaming : cpu::Stores::kCached;
  layout.rows_per_call =
      one_of(random, {std::int64_t{0}, std::int64_t{0}, std::int64_t{3}, std::int64_t{8}});
  layout.prepares = random.once_in(2);
  layout.dgate_in_place = random.once_in(2);
  return layout;
}

inline void check(Random& random, const Problem& problem) {
  INFO(describe(problem));
  const ForwardBuffers y = expected_forward(problem);
  const BackwardBuffers dx = expected_backward(problem);
  for (const cpu::Variant* variant : supported_variants()) {
    for (int i = 0; i < 3; ++i) {
      const Layout layout = any_layout(random, problem);
      INFO(describe(*variant) << ", " << describe(layout));
      ForwardBuffers forward(problem, layout);
      forward_with(*variant, forward.args, layout);
      CHECK(complaint(problem, layout, y, forward) == "");
      BackwardBuffers backward(problem, layout);
      backward_with(*variant, backward.args, layout);
      CHECK(complaint(problem, layout, dx, backward) == "");
    }
  }
}

}  // namespace rmsnorm::test
