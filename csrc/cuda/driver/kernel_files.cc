#include "kernel_files.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../../os/platform.h"
#include "driver.h"
#include "sha256.h"

namespace rmsnorm::cuda {
namespace {

// Such as forward.0123456789abcdef.fatbin.
constexpr std::string_view kNames[] = {RMSNORM_KERNEL_FILES};
constexpr std::size_t file_number(std::string_view name) {
  return kernel_file_number(name.substr(0, name.find('.')));
}
static_assert(std::size(kNames) == kKernelFileCount);
static_assert(std::ranges::all_of(kNames, [](std::string_view name) {
  return file_number(name) < kKernelFileCount;
}));

// A path without its last `names` names; empty if it has no more than those.
std::string without_names(const std::string& path, int names) {
  std::size_t end = path.size();
  for (; names > 0; --names) {
    if (end == 0 || end == std::string::npos) return {};
    end = path.find_last_of(kPathSeparator, end - 1);
  }
  return path.substr(0, end == std::string::npos ? 0 : end);
}

// The folders of the package that may have kernels, the nearest first, wherever the addon is in it.
// Names are cut off rather than followed by "..", which Windows does not resolve in the kind of
// path by which Node.js loads addons.
std::vector<std::string> find_folders() {
  const std::string separator(1, kPathSeparator);
  const std::pair<int, std::string> places[] = {
      {2, separator + "cuda"},                            // of build/Release, prebuilds/linux-x64
      {3, separator + "prebuilds" + separator + "cuda"},  // of build/Release, built without nvcc
  };
  std::vector<std::string> folders;
  for (const auto& [names, added] : places) {
    const std::string folder = without_names(module_path(), names);
    if (folder.empty()) continue;
    if (folders.empty() || folders.front() != folder + added) folders.push_back(folder + added);
  }
  return folders;
}

// More than all kernels for all architectures together.
constexpr std::size_t kMaxFileBytes = 64 << 20;

// A file ends with its checksum, such as
//   SHA256 (forward.0123456789abcdef.fatbin) = e3b0c442…
// which cmake/run_nvcc.cmake and bench/environment/kernel-file.ts write.
constexpr std::string_view kSealBegin = "SHA256 (";
constexpr std::size_t kMaxSealBytes = 256;

std::string seal(std::string_view name, std::span<const std::byte> contents) {
  return std::string(kSealBegin) + std::string(name) + ") = " + sha256(contents) + "\n";
}

// Removes the checksum from the file. Returns what is wrong with the file, or an empty string.
std::string open_seal(const std::string& name, std::vector<std::byte>* file) {
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  const std::size_t begin =
      text.find(kSealBegin, file->size() - std::min(file->size(), kMaxSealBytes));
  if (begin == std::string_view::npos) return "it has no checksum at the end";
  const std::string found(text.substr(begin));
  const auto contents = std::span<const std::byte>(*file).first(begin);
  if (found != seal(name, contents)) {
    const std::string_view rest = std::string_view(found).substr(kSealBegin.size());
    const std::string_view other = rest.substr(0, rest.find(')'));
    const bool is_other = other != name && found == seal(other, contents);
    return is_other ? "it is the file '" + std::string(other) + "' under another name"
                    : "its checksum does not match";
  }
  file->resize(begin);
  return {};
}

Status read_image(const std::vector<std::string>& folders, const std::string& name,
                  KernelImage* image) {
  std::string tried;
  for (const std::string& folder : folders) {
    const std::string path = folder + kPathSeparator + name;
    std::vector<std::byte> file;
    const std::optional<std::string> reason = read_file(path, kMaxFileBytes, &file);
    if (!reason) {
      std::string damage = open_seal(name, &file);
      if (damage.empty() && image->parse(std::move(file))) return {};
      if (damage.empty()) damage = "its format is unknown";
      return unavailable("the kernel file '" + path + "' is damaged: " + damage +
                         ". Reinstall the package, or build the kernels again");
    }
    if (*reason != kMissingText) {
      return unavailable("the kernel file '" + path + "' cannot be read: " + *reason);
    }
    tried += (tried.empty() ? "'" : ", '") + folder + "'";
  }
  return unavailable("the addon's kernels are missing: the file '" + name +
                     "' is in none of these folders: " + tried);
}

}  // namespace

Status read_kernels(KernelImages* images) {
  const std::vector<std::string> folders = find_folders();
  for (const std::string_view name : kNames) {
    KernelImage* const image = &(*images)[file_number(name)];
    RMSNORM_TRY(read_image(folders, std::string(name), image));
  }
  return {};
}

}  // namespace rmsnorm::cuda
