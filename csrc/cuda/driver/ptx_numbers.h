// In kernel files, the registers and labels of PTX have relative numbers, because xz then
// compresses the PTX to half the bytes. cmake/relative_numbers.mjs writes these numbers and states
// the rule.
#pragma once

#include <string>
#include <string_view>

namespace rmsnorm::cuda {

// Turns a text with relative numbers back into PTX.
std::string with_absolute_numbers(std::string_view text);

}  // namespace rmsnorm::cuda
