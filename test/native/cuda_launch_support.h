// Calls of the launches on device memory as a caller lays it out, compared with scalar.
#pragma once

#include <cstdint>
#include <string>

#include "cuda_support.h"

namespace rmsnorm::test {

struct Places {
  Place dy{};
  Place x{};
  Place weight{};
  Place rstd{};
  Place out{};  // y or dx
  Place dweight{};
  Place residual{};  // or dsum
  Place sum_out{};
  Place gate{};
  Place dgate{};
};

// What is wrong with a forward; empty if nothing. Of the layout only in_place and sum_in_place
// count.
std::string forward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout = {},
                              const Places& places = {});

// How the rows of a backward are grouped, and after how many of them a second call takes over.
struct Cut {
  std::int64_t group_rows = 0;  // 0: as fold.h says
  std::int64_t first_rows = 0;  // 0: all in one call
};

// What is wrong with a backward and the end of its dweight; empty if nothing. Of the layout
// in_place, rstd_given, dx, dweight and dgate_in_place count.
std::string backward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout = {},
                               const Places& places = {}, Cut cut = {});

// Everything else about a problem varies with the seed.
Problem problem_of(Shape shape, DType dtype, WeightKind weight, std::int64_t seed);

}  // namespace rmsnorm::test
