#include "warm_memory.h"

#include <bit>
#include <mutex>
#include <new>

#include "../os/never_destroyed.h"
#include "../os/platform.h"

namespace rmsnorm::cpu {
namespace {

// The C library caches smaller blocks by itself.
constexpr std::int64_t kMinCachedBytes = 64 << 10;
constexpr std::align_val_t kAlignment{64};

// The header of a cached block. It is stored in the block itself, so that tracking the block
// allocates nothing.
struct CachedBlock {
  std::int64_t bytes;
  CachedBlock* older;
  CachedBlock* younger;
};

// There are eight block sizes from each power of two to the next, so that calls of similar shapes
// can reuse each other's blocks.
std::int64_t rounded_up(std::int64_t bytes) {
  const auto step = std::int64_t(std::bit_floor(static_cast<std::uint64_t>(bytes))) / 8;
  return (bytes + step - 1) / step * step;
}

// Null if out of memory.
char* new_memory(std::int64_t bytes) noexcept {
  return static_cast<char*>(
      ::operator new(static_cast<std::size_t>(bytes), kAlignment, std::nothrow));
}

class Pool {
 public:
  // Returns the block of this size that was released last, because it is the most likely one to be
  // in a processor's cache. Null if there is none.
  char* acquire(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ += bytes;
    for (CachedBlock* block = youngest_; block != nullptr; block = block->older) {
      if (block->bytes == bytes) return unlink(block);
    }
    free_oldest_down_to(kMaxWarmBytes - in_use_);
    return nullptr;
  }

  void release(char* memory, std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ -= bytes;
    auto* const block = new (memory) CachedBlock{bytes, youngest_, nullptr};
    (youngest_ == nullptr ? oldest_ : youngest_->younger) = block;
    youngest_ = block;
    cached_ += bytes;
    free_oldest_down_to(kMaxWarmBytes - in_use_);
  }

  // Undoes what acquire() counted as in use. For a caller to which it returned null and that could
  // not allocate memory either.
  void note_not_allocated(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ -= bytes;
  }

  void free_all() {
    const std::lock_guard lock(mutex_);
    free_oldest_down_to(0);
  }

  std::int64_t cached_bytes() {
    const std::lock_guard lock(mutex_);
    return cached_;
  }

 private:
  char* unlink(CachedBlock* block) {
    (block->older == nullptr ? oldest_ : block->older->younger) = block->younger;
    (block->younger == nullptr ? youngest_ : block->younger->older) = block->older;
    cached_ -= block->bytes;
    return reinterpret_cast<char*>(block);
  }

  void free_oldest_down_to(std::int64_t max_bytes) {
    while (oldest_ != nullptr && cached_ > max_bytes)
      ::operator delete(unlink(oldest_), kAlignment);
  }

  std::mutex mutex_;
  std::int64_t in_use_ = 0;
  std::int64_t cached_ = 0;
  CachedBlock* oldest_ = nullptr;
  CachedBlock* youngest_ = nullptr;
};

NeverDestroyed<Pool> pool;

}  // namespace

void ReleaseWarmMemory::operator()(char* memory) const noexcept {
  if (bytes < kMinCachedBytes) return ::operator delete(memory, kAlignment);
  pool.value.release(memory, bytes);
}

WarmMemory acquire_warm_memory(std::int64_t bytes) noexcept {
  if (bytes < kMinCachedBytes) return WarmMemory(new_memory(bytes), {bytes});
  const std::int64_t size = rounded_up(bytes);
  if (char* const cached = pool.value.acquire(size)) return WarmMemory(cached, {size});
  char* const memory = new_memory(size);
  if (memory == nullptr) {
    pool.value.note_not_allocated(size);
  } else {
    advise_huge_pages(memory, size);
  }
  return WarmMemory(memory, {size});
}

std::int64_t cached_bytes() noexcept { return pool.value.cached_bytes(); }

void free_cached_memory() noexcept { pool.value.free_all(); }

}  // namespace rmsnorm::cpu
