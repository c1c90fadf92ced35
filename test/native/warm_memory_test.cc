#include "cpu/warm_memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace rmsnorm::cpu {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

TEST_CASE("a released block serves the next request of the same or a slightly smaller size") {
  free_cached_memory();
  WarmMemory memory = acquire_warm_memory(kMiB);
  char* const block = memory.get();
  REQUIRE(block != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
  std::memset(block, 7, kMiB);
  memory = nullptr;
  CHECK(cached_bytes() >= kMiB);
  memory = acquire_warm_memory(kMiB - 100);
  CHECK(memory.get() == block);
  CHECK(cached_bytes() == 0);
  // A request of half the size gets a block of its own.
  CHECK(acquire_warm_memory(kMiB / 2).get() != nullptr);
  CHECK(memory.get() == block);
}

TEST_CASE("the block released last is reused first") {
  free_cached_memory();
  WarmMemory first = acquire_warm_memory(kMiB);
  WarmMemory second = acquire_warm_memory(kMiB);
  CHECK(first.get() != second.get());
  char* const last = first.get();
  second = nullptr;
  first = nullptr;
  CHECK(acquire_warm_memory(kMiB).get() == last);
  CHECK(cached_bytes() == 2 * kMiB);
}

TEST_CASE("the cache stays within its limit and frees its oldest blocks first") {
  free_cached_memory();
  { const WarmMemory old = acquire_warm_memory(3 * kMiB); }
  std::vector<WarmMemory> blocks;
  for (int i = 0; i < 70; ++i) blocks.push_back(acquire_warm_memory(2 * kMiB));
  // Blocks in use count against the limit, so nothing can be cached beside them.
  CHECK(cached_bytes() == 0);
  blocks.clear();
  CHECK(cached_bytes() == kMaxWarmBytes);
  { const WarmMemory larger = acquire_warm_memory(kMaxWarmBytes / 2); }
  CHECK(cached_bytes() == kMaxWarmBytes);
  { const WarmMemory more = acquire_warm_memory(2 * kMaxWarmBytes); }
  CHECK(cached_bytes() == 0);
}

TEST_CASE("small blocks come from the C library and are not cached") {
  free_cached_memory();
  for (const std::int64_t bytes : {0, 1, 1000, (64 << 10) - 1}) {
    WarmMemory memory = acquire_warm_memory(bytes);
    REQUIRE(memory.get() != nullptr);
    std::memset(memory.get(), 1, static_cast<std::size_t>(bytes));
  }
  CHECK(cached_bytes() == 0);
}

TEST_CASE("threads acquire and release blocks concurrently, and no two share one") {
  free_cached_memory();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 500; ++i) {
        const std::int64_t bytes = (64 << 10) * (1 + (i + t) % 5);
        const WarmMemory memory = acquire_warm_memory(bytes);
        std::memset(memory.get(), t, static_cast<std::size_t>(bytes));
        for (std::int64_t at = 0; at < bytes; at += 4096) wrong[t] += memory[at] != t;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
  free_cached_memory();
  CHECK(cached_bytes() == 0);
}

}  // namespace
}  // namespace rmsnorm::cpu
