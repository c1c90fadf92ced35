// In kernel files, PTX has relative numbers of registers and labels: xz then compresses it to half
// the bytes. cmake/relative_numbers.mjs writes them and states the rule.
#pragma once

#include <string>
#include <string_view>

namespace rmsnorm::cuda {

// Turns a text with relative numbers back into PTX.
std::string with_absolute_numbers(std::string_view text);

}  // namespace rmsnorm::cuda
