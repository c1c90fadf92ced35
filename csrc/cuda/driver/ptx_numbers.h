// The PTX in the files *.fatbin, which the addon loads, has relative numbers of registers and
// labels. xz compresses it to half the bytes that it needs for PTX with absolute numbers.
// cmake/relative_numbers.mjs writes these numbers and states the rule.
#pragma once

#include <string>
#include <string_view>

namespace rmsnorm::cuda {

// Turns a text with relative numbers back into PTX.
std::string with_absolute_numbers(std::string_view text);

}  // namespace rmsnorm::cuda
