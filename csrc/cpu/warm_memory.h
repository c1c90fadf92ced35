// A cache of memory blocks for copies of operands. The system maps new memory page by page as it is
// first written, and zeroes each page. That takes several times as long as a copy into the memory.
// A block that was in use before is "warm": its pages are mapped already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rmsnorm::cpu {

// The limit of the bytes in use and cached together: blocks beyond it are freed. The bytes in use
// alone may exceed it. lib/call/memory-limit.ts has the same limit for calls in flight, and a call
// that would exceed that one waits.
static constexpr std::int64_t kMaxWarmBytes = std::int64_t{128} << 20;

// Returns a block to the cache, or frees it.
struct ReleaseWarmMemory {
  std::int64_t bytes = 0;
  void operator()(char* memory) const noexcept;
};
using WarmMemory = std::unique_ptr<char[], ReleaseWarmMemory>;

// At least `bytes` of uninitialised memory; null if out of memory. Callable from any thread.
WarmMemory acquire_warm_memory(std::int64_t bytes) noexcept;

// Bytes that are cached and not in use.
std::int64_t cached_bytes() noexcept;

// Frees the cached blocks.
void free_cached_memory() noexcept;

}  // namespace rmsnorm::cpu
