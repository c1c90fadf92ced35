#include "allocation_failures.h"

#if defined(__linux__)

#include <dlfcn.h>
#include <link.h>
#include <unwind.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace rmsnorm::test {
namespace {

// The addresses of a loaded file.
struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;

  bool contains(std::uintptr_t address) const { return begin <= address && address < end; }
};

// Written only while is_armed is false.
Range addon, library, self;
std::atomic<bool> is_armed{false};
std::atomic<std::int64_t> counted{0};
std::atomic<std::int64_t> first_failure{0}, end_of_failures{0};

Range range_of(const dl_phdr_info& file) {
  Range range{UINTPTR_MAX, 0};
  for (int i = 0; i < file.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = file.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    const std::uintptr_t begin = file.dlpi_addr + segment.p_vaddr;
    if (begin < range.begin) range.begin = begin;
    if (begin + segment.p_memsz > range.end) range.end = begin + segment.p_memsz;
  }
  return range;
}

int find_ranges(dl_phdr_info* file, std::size_t, void*) {
  const char* slash = std::strrchr(file->dlpi_name, '/');
  const char* name = slash == nullptr ? file->dlpi_name : slash + 1;
  if (std::strcmp(name, "rmsnorm.node") == 0) addon = range_of(*file);
  if (std::strcmp(name, "rmsnorm_test.node") == 0) self = range_of(*file);
  if (std::strncmp(name, "libstdc++.so", 12) == 0) library = range_of(*file);
  return 0;
}

// Finds the first caller outside this file and libstdc++.
_Unwind_Reason_Code find_caller(_Unwind_Context* frame, void* caller) {
  const std::uintptr_t address = _Unwind_GetIP(frame);
  if (self.contains(address) || library.contains(address)) return _URC_NO_REASON;
  *static_cast<std::uintptr_t*>(caller) = address;
  return _URC_END_OF_STACK;
}

bool is_of_addon(std::uintptr_t caller) {
  if (library.contains(caller)) {
    caller = 0;
    _Unwind_Backtrace(find_caller, &caller);
  }
  return addon.contains(caller);
}

bool must_fail(void* caller) {
  if (!is_armed || !is_of_addon(reinterpret_cast<std::uintptr_t>(caller))) return false;
  const std::int64_t number = ++counted;
  return first_failure <= number && number < end_of_failures;
}

// Null if there is no memory, or if this allocation must fail.
void* allocate(std::size_t bytes, std::size_t alignment, void* caller) {
  if (must_fail(caller)) return nullptr;
  if (bytes == 0) bytes = 1;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment, void* caller) {
  void* const memory = allocate(bytes, alignment, caller);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

bool is_preloaded() {
  Dl_info used = {}, own = {};
  return dladdr(dlsym(RTLD_DEFAULT, "_Znwm"), &used) != 0 &&
         dladdr(reinterpret_cast<void*>(&is_preloaded), &own) != 0 &&
         used.dli_fbase == own.dli_fbase;
}

bool fail_allocations(std::int64_t first, std::int64_t failures) {
  stop_failing_allocations();
  dl_iterate_phdr(find_ranges, nullptr);
  if (addon.end == 0) return false;
  first_failure = first;
  end_of_failures = first + failures;
  counted = 0;
  is_armed = true;
  return true;
}

std::int64_t stop_failing_allocations() {
  is_armed = false;
  return counted;
}

}  // namespace rmsnorm::test

#define CALLER __builtin_return_address(0)
#define ALIGNMENT static_cast<std::size_t>(alignment)
constexpr std::size_t kPlain = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

using rmsnorm::test::allocate;
using rmsnorm::test::allocate_or_throw;
using Nothrow = std::nothrow_t;

void* operator new(std::size_t bytes) { return allocate_or_throw(bytes, kPlain, CALLER); }
void* operator new[](std::size_t bytes) { return allocate_or_throw(bytes, kPlain, CALLER); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, ALIGNMENT, CALLER);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, ALIGNMENT, CALLER);
}
void* operator new(std::size_t bytes, const Nothrow&) noexcept {
  return allocate(bytes, kPlain, CALLER);
}
void* operator new[](std::size_t bytes, const Nothrow&) noexcept {
  return allocate(bytes, kPlain, CALLER);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const Nothrow&) noexcept {
  return allocate(bytes, ALIGNMENT, CALLER);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment, const Nothrow&) noexcept {
  return allocate(bytes, ALIGNMENT, CALLER);
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const Nothrow&) noexcept { std::free(memory); }
void operator delete[](void* memory, const Nothrow&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const Nothrow&) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t, const Nothrow&) noexcept {
  std::free(memory);
}

#else

namespace rmsnorm::test {

bool is_preloaded() { return false; }
bool fail_allocations(std::int64_t, std::int64_t) { return false; }
std::int64_t stop_failing_allocations() { return 0; }

}  // namespace rmsnorm::test

#endif
