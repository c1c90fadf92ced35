#include "kernel_image.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

#include "xz.h"

namespace rmsnorm::cuda {
namespace {

// The header of a fatbin: u32 magic, u16 version, u16 bytes of the header, u64 bytes behind it.
constexpr std::uint32_t kMagic = 0xba55ed50;
constexpr std::size_t kHeaderBytes = 16;

template <class T>
T read(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The bytes of the fatbin that a file begins with; 0 if it does not.
std::size_t fatbin_bytes(std::span<const std::byte> file) {
  if (file.size() < kHeaderBytes || read<std::uint32_t>(file, 0) != kMagic) return 0;
  const std::size_t header = read<std::uint16_t>(file, 6);
  const auto payload = read<std::uint64_t>(file, 8);
  return header <= file.size() && payload <= file.size() - header ? header + payload : 0;
}

// Takes these characters, or a number, off the front of a text. False if they are not there.
bool skip(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}
bool read_number(std::string_view* text, int* number) {
  const char* const begin = text->data();
  const auto [end, error] = std::from_chars(begin, begin + text->size(), *number);
  text->remove_prefix(static_cast<std::size_t>(end - begin));
  return error == std::errc();
}

}  // namespace

bool KernelImage::parse(std::vector<std::byte> file) {
  file_ = std::move(file);
  const std::size_t line = fatbin_bytes(file_);
  if (line == 0) return false;
  // Such as "sm 13000 compute_75 10000 compute_80 11000".
  const std::string_view rest(reinterpret_cast<const char*>(file_.data()) + line,
                              file_.size() - line);
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return false;
  std::string_view words = rest.substr(0, end);
  if (!skip(&words, "sm ") || !read_number(&words, &machine_code_version_)) return false;
  while (!words.empty()) {
    Ptx ptx{};
    if (!skip(&words, " compute_") || !read_number(&words, &ptx.capability)) return false;
    if (!skip(&words, " ") || !read_number(&words, &ptx.cuda_version)) return false;
    ptx_.push_back(ptx);
  }
  texts_ = line + end + 1;
  return true;
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
  if (!decode_xz(std::span<const std::byte>(file_).subspan(texts_), &texts)) return {};
  // Each text begins with its version.
  constexpr std::string_view kBegin = ".version ";
  std::size_t begin = texts.find(kBegin);
  for (const Ptx& ptx : ptx_) {
    if (begin == std::string::npos) return {};
    const std::size_t end = texts.find(kBegin, begin + 1);
    if (ptx.capability == capability) return texts.substr(begin, end - begin);
    begin = end;
  }
  return {};
}

}  // namespace rmsnorm::cuda
