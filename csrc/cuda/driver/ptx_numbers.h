// PTX in files of kernels has relative numbers of registers and labels, which xz compresses to half
// the bytes. cmake/relative_numbers.mjs writes them and has the rule.
#pragma once

#include <string>
#include <string_view>

namespace rmsnorm::cuda {

// The PTX that a text with relative numbers stands for.
std::string with_absolute_numbers(std::string_view text);

}  // namespace rmsnorm::cuda
