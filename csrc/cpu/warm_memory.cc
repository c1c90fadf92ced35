#include "warm_memory.h"

#include <bit>
#include <mutex>
#include <new>

#include "../os/never_destroyed.h"
#include "../os/platform.h"

namespace rmsnorm::cpu {
namespace {

// The C library caches smaller blocks by itself.
constexpr std::int64_t kLeastKept = 64 << 10;
constexpr std::align_val_t kAlignment{64};

// The header of a cached block, stored in the block itself: tracking it allocates nothing.
struct Kept {
  std::int64_t bytes;
  Kept* older;
  Kept* younger;
};

// There are eight sizes between two powers of two, so that calls of similar shapes share blocks.
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
  // The block of this size that was released last, because its bytes are the most likely to be in a
  // cache. Null if there is none.
  char* take(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ += bytes;
    for (Kept* block = youngest_; block != nullptr; block = block->older) {
      if (block->bytes == bytes) return take_out(block);
    }
    free_oldest_down_to(kMostWarmBytes - in_use_);
    return nullptr;
  }

  void give_back(char* memory, std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ -= bytes;
    auto* const block = new (memory) Kept{bytes, youngest_, nullptr};
    (youngest_ == nullptr ? oldest_ : youngest_->younger) = block;
    youngest_ = block;
    kept_ += bytes;
    free_oldest_down_to(kMostWarmBytes - in_use_);
  }

  void forget(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    in_use_ -= bytes;
  }

  void free_all() {
    const std::lock_guard lock(mutex_);
    free_oldest_down_to(0);
  }

  std::int64_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

 private:
  char* take_out(Kept* block) {
    (block->older == nullptr ? oldest_ : block->older->younger) = block->younger;
    (block->younger == nullptr ? youngest_ : block->younger->older) = block->older;
    kept_ -= block->bytes;
    return reinterpret_cast<char*>(block);
  }

  void free_oldest_down_to(std::int64_t most) {
    while (oldest_ != nullptr && kept_ > most) ::operator delete(take_out(oldest_), kAlignment);
  }

  std::mutex mutex_;
  std::int64_t in_use_ = 0;
  std::int64_t kept_ = 0;
  Kept* oldest_ = nullptr;
  Kept* youngest_ = nullptr;
};

NeverDestroyed<Pool> pool;

}  // namespace

void GiveBack::operator()(char* memory) const noexcept {
  if (bytes < kLeastKept) return ::operator delete(memory, kAlignment);
  pool.value.give_back(memory, bytes);
}

WarmMemory take_warm_memory(std::int64_t bytes) noexcept {
  if (bytes < kLeastKept) return WarmMemory(new_memory(bytes), {bytes});
  const std::int64_t size = rounded_up(bytes);
  if (char* const kept = pool.value.take(size)) return WarmMemory(kept, {size});
  char* const memory = new_memory(size);
  if (memory == nullptr) {
    pool.value.forget(size);
  } else {
    advise_huge_pages(memory, size);
  }
  return WarmMemory(memory, {size});
}

std::int64_t kept_bytes() noexcept { return pool.value.kept(); }

void free_kept_memory() noexcept { pool.value.free_all(); }

}  // namespace rmsnorm::cpu
