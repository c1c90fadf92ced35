#include "kernel_files.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "../platform.h"

namespace rmsnorm::cuda {
namespace {

// A path without its last names; empty if it has no more than those.
std::string without_names(const std::string& path, int names) {
  std::size_t end = path.size();
  for (; names > 0; --names) {
    if (end == 0 || end == std::string::npos) return {};
    end = path.find_last_of(kPathSeparator, end - 1);
  }
  return path.substr(0, end == std::string::npos ? 0 : end);
}

// Where kernels may lie, the nearest first. Names are cut off rather than followed by "..", which
// Windows does not know in the kind of path that Node.js loads addons by.
std::vector<std::string> find_folders() {
  struct Place {
    int names;  // of the addon's path to cut off
    std::vector<const char*> added;
  };
  const Place places[] = {
      {2, {"cuda"}},               // of build/Release and prebuilds/linux-x64
      {3, {"prebuilds", "cuda"}},  // of build/Release, built without nvcc
      {4, {"prebuilds", "cuda"}},  // of bench/prebuilds/linux-x64
  };
  const std::string path = module_path();
  std::vector<std::string> folders;
  for (const Place& place : places) {
    std::string folder = without_names(path, place.names);
    if (folder.empty()) continue;
    for (const char* name : place.added) folder += kPathSeparator + std::string(name);
    folders.push_back(std::move(folder));
  }
  return folders;
}

Status unavailable(const std::string& reason) {
  return {Code::kCudaUnavailable, "CUDA is not available: " + reason};
}

// Whether these are the bytes of a whole fatbin: the driver, which is not told their number, reads
// as many as the header says.
bool is_whole(const std::vector<std::byte>& bytes) {
  struct Header {
    std::uint32_t magic;
    std::uint16_t version, size;
    std::uint64_t rest;  // bytes after the header
  } header;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header.magic == 0xBA55ED50 && header.rest == bytes.size() - header.size;
}

Status read_image(const std::vector<std::string>& folders, const std::string& name,
                  std::vector<std::byte>* image) {
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  std::string tried;
  for (const std::string& folder : folders) {
    const std::string path = folder + kPathSeparator + name;
    const File file(open_file(path), &std::fclose);
    if (file != nullptr) {
      std::byte part[1 << 14];
      for (std::size_t count = 0; (count = std::fread(part, 1, sizeof part, file.get())) > 0;) {
        image->insert(image->end(), part, part + count);
      }
      if (is_whole(*image)) return {};
      return unavailable("the file '" + path + "' of kernels is damaged");
    }
    tried += (tried.empty() ? "'" : ", '") + folder + "'";
  }
  return unavailable("the addon's kernels are missing: there is no file '" + name + "' in any of " +
                     tried);
}

struct ReadImages {
  KernelImages images;
  Status status;
};

ReadImages read_images() {
  ReadImages read;
  const std::vector<std::string> folders = find_folders();
  read.status = [&]() -> Status {
    for (const char* name : {RMSNORM_KERNEL_FILES}) {
      RMSNORM_TRY(read_image(folders, name, &read.images.emplace_back()));
    }
    return {};
  }();
  return read;
}

}  // namespace

Status kernel_images(const KernelImages** images) {
  static const ReadImages& read = *new ReadImages(read_images());
  *images = &read.images;
  return read.status;
}

}  // namespace rmsnorm::cuda
