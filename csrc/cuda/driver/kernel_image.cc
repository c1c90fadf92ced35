#include "kernel_image.h"

#include <charconv>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "ptx_numbers.h"
#include "xz.h"

namespace rmsnorm::cuda {
namespace {

// skip() removes `prefix` from the front of a text, and read_number() removes a number. Both return
// false if the text does not begin so.
bool skip(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}
template <class Number>
bool read_number(std::string_view* text, Number* number) {
  const char* const begin = text->data();
  const auto [end, error] = std::from_chars(begin, begin + text->size(), *number);
  text->remove_prefix(static_cast<std::size_t>(end - begin));
  return error == std::errc();
}

}  // namespace

bool KernelImage::parse(std::vector<std::byte> file) {
  file_ = std::move(file);
  const std::string_view all(reinterpret_cast<const char*>(file_.data()), file_.size());
  const std::size_t end = all.find('\n');
  if (end == std::string_view::npos) return false;
  std::string_view line = all.substr(0, end);
  std::size_t machine_code_bytes = 0;
  if (!skip(&line, "code ") || !read_number(&line, &machine_code_version_)) return false;
  if (!skip(&line, " ") || !read_number(&line, &machine_code_bytes)) return false;
  int architecture = 0;  // unused: the driver reads it in the fatbin
  while (skip(&line, " sm_")) {
    if (!read_number(&line, &architecture)) return false;
  }
  while (!line.empty()) {
    Ptx ptx{};
    if (!skip(&line, " compute_") || !read_number(&line, &ptx.capability)) return false;
    if (!skip(&line, " ") || !read_number(&line, &ptx.cuda_version)) return false;
    ptx_.push_back(ptx);
  }
  machine_code_ = end + 1;
  if (machine_code_bytes > file_.size() - machine_code_) return false;
  texts_ = machine_code_ + machine_code_bytes;
  return true;
}

std::string KernelImage::machine_code() const {
  const auto stream = std::span(file_).subspan(machine_code_, texts_ - machine_code_);
  std::string code;
  return decode_xz(stream, &code) ? code : std::string();
}

int KernelImage::find_ptx(int capability, int driver_version) const {
  int found = 0;
  for (const Ptx& ptx : ptx_) {
    const bool is_read = ptx.capability <= capability && ptx.cuda_version <= driver_version;
    if (is_read && ptx.capability > found) found = ptx.capability;
  }
  return found;
}

std::string KernelImage::ptx(int capability) const {
  std::string texts;
  if (!decode_xz(std::span(file_).subspan(texts_), &texts)) return {};
  // Each PTX text begins with its .version directive.
  constexpr std::string_view kBegin = ".version ";
  std::size_t begin = texts.find(kBegin);
  for (const Ptx& ptx : ptx_) {
    if (begin == std::string::npos) return {};
    const std::size_t end = texts.find(kBegin, begin + 1);
    if (ptx.capability == capability) {
      return with_absolute_numbers(std::string_view(texts).substr(begin, end - begin));
    }
    begin = end;
  }
  return {};
}

}  // namespace rmsnorm::cuda
