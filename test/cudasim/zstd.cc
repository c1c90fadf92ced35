#include "zstd.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace cudasim {
namespace {

// The two functions of libzstd 1 that are used, with the types of its header.
struct Zstd {
  std::size_t (*decompress)(void* to, std::size_t capacity, const void* frame, std::size_t bytes);
  unsigned (*is_error)(std::size_t result);
};

template <class Function>
void find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) throw std::runtime_error(std::string("libzstd.so.1 has no ") + name);
}

Zstd open_zstd() {
  void* const library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(std::string("compressed kernels need libzstd: ") + dlerror());
  }
  Zstd zstd;
  find(library, "ZSTD_decompress", &zstd.decompress);
  find(library, "ZSTD_isError", &zstd.is_error);
  return zstd;
}

}  // namespace

std::size_t decompress_zstd(const void* frame, std::size_t bytes, void* to, std::size_t capacity) {
  static const Zstd zstd = open_zstd();
  const std::size_t result = zstd.decompress(to, capacity, frame, bytes);
  return zstd.is_error(result) != 0 ? kZstdDamaged : result;
}

}  // namespace cudasim
