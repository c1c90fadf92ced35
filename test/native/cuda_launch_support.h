// Launches on device memory laid out by a caller, compared with scalar.
#pragma once

#include <cstdint>
#include <string>

#include "cuda_support.h"

namespace rmsnorm::test {

struct Placements {
  Placement dy{};
  Placement x{};
  Placement weight{};
  Placement rstd{};
  Placement out{};  // y or dx
  Placement dweight{};
  Placement residual{};  // or dsum
  Placement sum_out{};
  Placement gate{};
  Placement dgate{};
};

// Describes what is wrong with a forward; empty if nothing is. Uses only in_place and sum_in_place
// of the layout.
std::string forward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout = {},
                              const Placements& placements = {});

// How backward's rows are grouped, and how many of them the first of two calls takes.
struct Cut {
  std::int64_t group_rows = 0;  // 0: as fold.h says
  std::int64_t first_rows = 0;  // 0: all in one call
};

// Describes what is wrong with a backward and the reduction of its dweight; empty if nothing is.
// Uses only in_place, has_rstd, dx, dweight and dgate_in_place of the layout.
std::string backward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout = {},
                               const Placements& placements = {}, Cut cut = {});

// Everything else about the problem varies with the seed.
Problem problem_of(Shape shape, DType dtype, WeightKind weight, std::int64_t seed);

}  // namespace rmsnorm::test
