#include "block_pool.h"

#include <algorithm>
#include <bit>
#include <new>

#include "pages.h"

namespace rmsnorm::memory {

std::int64_t block_bytes(std::int64_t bytes) {
  constexpr std::int64_t kPageBytes = 4096;
  const auto quarter =
      static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(bytes)) / 4);
  const std::int64_t step = std::max(quarter, bytes < kHugePageBytes ? kPageBytes : kHugePageBytes);
  return (bytes + step - 1) / step * step;
}

void* BlockPool::lend(std::int64_t bytes) {
  if (bytes > most_bytes_) return nullptr;
  const std::int64_t size = block_bytes(bytes);
  const std::lock_guard lock(mutex_);
  if (lent_bytes_ + size > most_bytes_) return nullptr;
  void* memory = find_kept(size);
  if (memory == nullptr) {
    try {
      kept_.reserve(kept_.size() + lent_count_ + 1);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    while (lent_bytes_ + kept_bytes_ + size > most_bytes_) unmap_oldest();
    memory = map_pages(size);
    if (memory == nullptr) return nullptr;
  }
  lent_bytes_ += size;
  ++lent_count_;
  return memory;
}

void BlockPool::take_back(void* block, std::int64_t bytes) {
  const std::int64_t size = block_bytes(bytes);
  // Of small pages this would take longer, and writing them again, too.
  if (size >= kHugePageBytes) discard_pages(block, size);
  const std::lock_guard lock(mutex_);
  lent_bytes_ -= size;
  --lent_count_;
  kept_bytes_ += size;
  kept_.push_back({block, size});
}

void BlockPool::unmap_kept() {
  const std::lock_guard lock(mutex_);
  while (!kept_.empty()) unmap_oldest();
}

// The last that came back: the most likely one to be in a cache.
void* BlockPool::find_kept(std::int64_t bytes) {
  const auto found = std::find_if(kept_.rbegin(), kept_.rend(),
                                  [bytes](const Block& block) { return block.bytes == bytes; });
  if (found == kept_.rend()) return nullptr;
  void* const memory = found->memory;
  kept_.erase(std::next(found).base());
  kept_bytes_ -= bytes;
  return memory;
}

void BlockPool::unmap_oldest() {
  const Block oldest = kept_.front();
  kept_.erase(kept_.begin());
  kept_bytes_ -= oldest.bytes;
  unmap_pages(oldest.memory, oldest.bytes);
}

}  // namespace rmsnorm::memory
