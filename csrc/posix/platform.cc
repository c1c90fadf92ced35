#include "../platform.h"

#include <dlfcn.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <memory>

namespace rmsnorm {
namespace {

struct KeptPointer {
  void* pointer = nullptr;
  void (*release)(void*) = nullptr;

  ~KeptPointer() {
    if (pointer != nullptr) release(pointer);
  }
};

thread_local KeptPointer kept_pointer;

}  // namespace

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

void* open_library(const std::string& name, std::string* error) {
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

std::FILE* open_file(const std::string& path) { return std::fopen(path.c_str(), "rb"); }

void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::int64_t bytes) {
#if defined(__linux__)
  // A huge page begins at a multiple of its size. Where there are none, this fails, which is fine.
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (address + kHugePage - 1) & -kHugePage;
  const std::uintptr_t end = (address + static_cast<std::uintptr_t>(bytes)) & -kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void* thread_pointer() { return kept_pointer.pointer; }

bool set_thread_pointer(void* pointer, void (*release)(void*)) {
  kept_pointer.pointer = pointer;
  kept_pointer.release = release;
  return true;
}

}  // namespace rmsnorm
