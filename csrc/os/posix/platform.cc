#include "../platform.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <system_error>

#include "open_file.h"

namespace rmsnorm {
namespace {

thread_local std::unique_ptr<void, void (*)(void*)> owned_pointer{nullptr, nullptr};
thread_local void* borrowed_pointer = nullptr;

std::string error_text(int error) { return std::generic_category().message(error); }

struct FileInfo {
  bool is_regular = false;
  std::uint64_t bytes = 0;
};

// Returns false and sets errno on failure. On Linux it uses statx(): an addon that was built with a
// new glibc and calls fstat() does not load with an old glibc.
bool read_info(int descriptor, FileInfo* info) {
#if defined(__linux__)
  struct statx found = {};
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &found) != 0) return false;
  *info = {S_ISREG(found.stx_mode), found.stx_size};
#else
  struct stat found = {};
  if (fstat(descriptor, &found) != 0) return false;
  *info = {S_ISREG(found.st_mode), static_cast<std::uint64_t>(found.st_size)};
#endif
  return true;
}

}  // namespace

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

void* open_library(const std::string& name, std::string* error) {
  if (name.find('/') != std::string::npos) {
    // dlopen() would wait for the other end of a pipe.
    const OpenFile file{open_to_read(name.c_str())};
    FileInfo info;
    if (file.descriptor >= 0 && read_info(file.descriptor, &info) && !info.is_regular) {
      *error = not_regular_text();
      return nullptr;
    }
  }
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = dlerror();
    *error = text == nullptr ? "no reason given" : text;
  }
  return library;
}

void* find_function(void* library, const char* name) { return dlsym(library, name); }

std::string module_path() {
  Dl_info info = {};
  if (dladdr(reinterpret_cast<void*>(&module_path), &info) == 0 || info.dli_fname == nullptr) {
    return {};
  }
  const std::unique_ptr<char, decltype(&std::free)> path(realpath(info.dli_fname, nullptr),
                                                         &std::free);
  return path == nullptr ? info.dli_fname : path.get();
}

std::optional<std::string> read_file(const std::string& path, std::size_t max_bytes,
                                     std::vector<std::byte>* bytes) {
  const OpenFile file{open_to_read(path.c_str())};
  if (file.descriptor < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return kMissingText;
    return errno == ENXIO ? not_regular_text() : error_text(errno);  // ENXIO: a socket
  }
  FileInfo info;
  if (!read_info(file.descriptor, &info)) return error_text(errno);
  if (!info.is_regular) return not_regular_text();
  if (info.bytes > max_bytes) return too_large_text(max_bytes);
  const std::size_t begin = bytes->size();
  const auto size = static_cast<std::size_t>(info.bytes);
  bytes->resize(begin + size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = read(file.descriptor, bytes->data() + begin + done, size - done);
    if (count == 0) break;  // the file was truncated meanwhile
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return error_text(errno);
    }
  }
  bytes->resize(begin + done);
  return std::nullopt;
}

void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::int64_t bytes) {
#if defined(__linux__)
  // A huge page begins at a multiple of its size. Without huge pages this fails, which is harmless.
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (address + kHugePage - 1) & -kHugePage;
  const std::uintptr_t end = (address + static_cast<std::uintptr_t>(bytes)) & -kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void* thread_pointer() { return owned_pointer.get(); }

bool set_thread_pointer(void* pointer, void (*release)(void*)) {
  owned_pointer = {pointer, release};
  return true;
}

void* borrowed_thread_pointer() { return borrowed_pointer; }
void set_borrowed_thread_pointer(void* pointer) { borrowed_pointer = pointer; }

}  // namespace rmsnorm
