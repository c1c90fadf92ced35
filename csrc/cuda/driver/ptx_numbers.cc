#include "ptx_numbers.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <system_error>

namespace rmsnorm::cuda {
namespace {

// The kind of register or label at the beginning of a text: %r for "%r-2, %r5", or $L_. Empty if
// there is none.
std::string_view kind_at(std::string_view text) {
  constexpr std::string_view kLabel = "$L_";
  if (text.starts_with(kLabel)) return kLabel;
  if (!text.starts_with('%')) return {};
  std::size_t end = 1;
  while (end < text.size() && text[end] >= 'a' && text[end] <= 'z') ++end;
  return end == 1 ? std::string_view() : text.substr(0, end);
}

}  // namespace

std::string with_absolute_numbers(std::string_view text) {
  std::string ptx;
  std::map<std::string_view, std::int64_t> origins;  // by kind (cmake/relative_numbers.mjs)
  std::string_view first_kind;  // of the first number in this line; empty before it
  std::int64_t first_number = 0;
  while (!text.empty()) {
    const std::size_t unchanged = text.find_first_of("%$\n");
    ptx += text.substr(0, unchanged);
    if (unchanged == std::string_view::npos) break;
    text.remove_prefix(unchanged);
    if (text.front() == '\n' && !first_kind.empty()) {
      origins[first_kind] = first_number;
      first_kind = {};
    }
    const std::string_view kind = kind_at(text);
    std::int64_t number = 0;
    const char* const digits = text.data() + kind.size();
    const auto [end, error] = std::from_chars(digits, text.data() + text.size(), number);
    if (kind.empty() || error != std::errc()) {
      ptx += text.front();
      text.remove_prefix(1);
      continue;
    }
    number += origins[kind];
    ptx += kind;
    ptx += std::to_string(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (first_kind.empty()) {
      first_kind = kind;
      first_number = number;
    }
  }
  return ptx;
}

}  // namespace rmsnorm::cuda
