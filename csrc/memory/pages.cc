#include "pages.h"

#if defined(__linux__)

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

namespace rmsnorm::memory {
namespace {

constexpr auto kHugePage = static_cast<std::uintptr_t>(kHugePageBytes);

std::uintptr_t round_up(std::uintptr_t address) { return (address + kHugePage - 1) & -kHugePage; }

}  // namespace

void* map_pages(std::int64_t bytes) {
  // A huge page begins at a multiple of its size: what lies before and behind goes back.
  const bool is_huge = bytes >= kHugePageBytes;
  const auto size = static_cast<std::size_t>(bytes);
  const std::size_t mapped = size + (is_huge ? kHugePage : 0);
  void* const memory =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (!is_huge) return memory;
  char* const begin = static_cast<char*>(memory);
  const std::size_t before =
      round_up(reinterpret_cast<std::uintptr_t>(begin)) - reinterpret_cast<std::uintptr_t>(begin);
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + size, kHugePage - before);
  madvise(begin + before, size, MADV_HUGEPAGE);
  return begin + before;
}

void unmap_pages(void* pages, std::int64_t bytes) {
  munmap(pages, static_cast<std::size_t>(bytes));
}

void discard_pages(void* pages, std::int64_t bytes) {
  madvise(pages, static_cast<std::size_t>(bytes), MADV_FREE);
}

void advise_huge_pages(void* memory, std::int64_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = round_up(address);
  const std::uintptr_t end = (address + static_cast<std::uintptr_t>(bytes)) & -kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

bool is_main_thread() { return syscall(SYS_gettid) == getpid(); }

}  // namespace rmsnorm::memory

#else

namespace rmsnorm::memory {

void* map_pages(std::int64_t) { return nullptr; }
void unmap_pages(void*, std::int64_t) {}
void discard_pages(void*, std::int64_t) {}
void advise_huge_pages(void*, std::int64_t) {}
bool is_main_thread() { return false; }

}  // namespace rmsnorm::memory

#endif
