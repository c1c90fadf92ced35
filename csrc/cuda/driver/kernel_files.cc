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

// The names of this build's kernel files, such as forward.0123456789abcdef.fatbin. The digits are a
// hash of the kernels' sources (cmake/kernels.cmake).
constexpr std::string_view kNames[] = {RMSNORM_KERNEL_FILES};
constexpr std::size_t file_number(std::string_view name) {
  return kernel_file_number(name.substr(0, name.find('.')));
}
static_assert(std::size(kNames) == kKernelFileCount);
static_assert(std::ranges::all_of(kNames, [](std::string_view name) {
  return file_number(name) < kKernelFileCount;
}));

// Removes the last `names` components of a path. Empty if that leaves nothing.
std::string without_names(const std::string& path, int names) {
  std::size_t end = path.size();
  for (; names > 0; --names) {
    if (end == 0 || end == std::string::npos) return {};
    end = path.find_last_of(kPathSeparator, end - 1);
  }
  return path.substr(0, end == std::string::npos ? 0 : end);
}

// The folders of the package that may have kernels, the nearest first. The addon itself is in
// build/Release or in prebuilds/PLATFORM. The folders are found by removing components of the
// addon's path, not by appending "..". Windows does not resolve ".." in the kind of path by which
// Node.js loads addons.
std::vector<std::string> find_folders() {
  const std::string separator(1, kPathSeparator);
  const std::pair<int, std::string> candidates[] = {
      {2, separator + "cuda"},                            // build/cuda or prebuilds/cuda
      {3, separator + "prebuilds" + separator + "cuda"},  // if build/ was made without nvcc
  };
  std::vector<std::string> folders;
  for (const auto& [names, subfolder] : candidates) {
    const std::string folder = without_names(module_path(), names);
    if (folder.empty()) continue;
    if (folders.empty() || folders.front() != folder + subfolder)
      folders.push_back(folder + subfolder);
  }
  return folders;
}

// A size limit that no kernel file reaches: all kernels for all architectures are smaller together.
constexpr std::size_t kMaxFileBytes = 64 << 20;

// A file ends with its checksum, such as
//   SHA256 (forward.0123456789abcdef.fatbin) = e3b0c442…
// which cmake/run_nvcc.cmake and bench/environment/kernel-file.ts write.
constexpr std::string_view kChecksumBegin = "SHA256 (";
constexpr std::size_t kMaxChecksumLineBytes = 256;

std::string checksum_line(std::string_view name, std::span<const std::byte> contents) {
  return std::string(kChecksumBegin) + std::string(name) + ") = " + sha256(contents) + "\n";
}

// Checks the checksum at the end of the file and removes it. Returns what is wrong with the file,
// or an empty string.
std::string remove_checksum(const std::string& name, std::vector<std::byte>* file) {
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  const std::size_t begin =
      text.find(kChecksumBegin, file->size() - std::min(file->size(), kMaxChecksumLineBytes));
  if (begin == std::string_view::npos) return "it has no checksum at the end";
  const std::string found(text.substr(begin));
  const auto contents = std::span<const std::byte>(*file).first(begin);
  if (found != checksum_line(name, contents)) {
    const std::string_view rest = std::string_view(found).substr(kChecksumBegin.size());
    const std::string_view other = rest.substr(0, rest.find(')'));
    const bool is_other = other != name && found == checksum_line(other, contents);
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
      std::string damage = remove_checksum(name, &file);
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
