#include "memory/block_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "memory/pages.h"

namespace rmsnorm::memory {
namespace {

constexpr std::int64_t kKiB = 1 << 10;
constexpr std::int64_t kMiB = 1 << 20;

TEST_CASE("A block is as large as what it is for, and not much larger") {
  for (std::int64_t bytes = 1; bytes < 600 * kMiB; bytes += 1 + bytes / 7) {
    CAPTURE(bytes);
    const std::int64_t size = block_bytes(bytes);
    CHECK(size >= bytes);
    CHECK(size % (bytes < kHugePageBytes ? 4096 : kHugePageBytes) == 0);
    CHECK(block_bytes(size) == size);
    if (bytes >= 16 * kKiB && bytes < kHugePageBytes) CHECK(size * 4 < bytes * 5);
    if (bytes >= 8 * kHugePageBytes) CHECK(size * 4 < bytes * 5);
  }
  CHECK(block_bytes(32 * kMiB) == 32 * kMiB);
}

TEST_CASE("Pages of the main thread") {
  CHECK_FALSE([] {
    bool is_main = true;
    std::thread([&is_main] { is_main = is_main_thread(); }).join();
    return is_main;
  }());
#if defined(__linux__)
  CHECK(is_main_thread());
#endif
}

TEST_CASE("Advice on memory of any place and size leaves it as it is") {
  std::vector<char> memory(9 * kMiB, 5);
  for (const std::int64_t begin : {0, 1, 4096, 1 << 20}) {
    for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, 2 * kMiB, 7 * kMiB}) {
      advise_huge_pages(memory.data() + begin, bytes);
    }
  }
  CHECK(memory == std::vector<char>(9 * kMiB, 5));
}

#if defined(__linux__)

TEST_CASE("A block that came back is lent again, the last one first") {
  BlockPool pool(64 * kMiB);
  void* const first = pool.lend(kMiB);
  void* const second = pool.lend(kMiB);
  REQUIRE(first != nullptr);
  REQUIRE(second != nullptr);
  CHECK(first != second);
  std::memset(first, 1, kMiB);
  std::memset(second, 2, kMiB);
  pool.take_back(first, kMiB);
  pool.take_back(second, kMiB);
  CHECK(pool.lend(kMiB - 5) == second);
  CHECK(pool.lend(kMiB) == first);
  CHECK(static_cast<char*>(first)[kMiB - 1] == 1);
  CHECK(pool.lend(kMiB / 2) != nullptr);
  pool.take_back(first, kMiB);
  CHECK(pool.lend(3 * kMiB) != first);
}

TEST_CASE("Large blocks begin at huge pages, and all of a block can be written") {
  BlockPool pool(256 * kMiB);
  for (const std::int64_t bytes : {std::int64_t{1}, 300 * kKiB, 2 * kMiB, 5 * kMiB, 33 * kMiB}) {
    CAPTURE(bytes);
    for (int i = 0; i < 3; ++i) {
      void* const block = pool.lend(bytes);
      REQUIRE(block != nullptr);
      std::memset(block, 0xff, static_cast<std::size_t>(block_bytes(bytes)));
      const auto address = reinterpret_cast<std::uintptr_t>(block);
      CHECK(address % (bytes < kHugePageBytes ? 4096 : kHugePageBytes) == 0);
      if (i != 1) pool.take_back(block, bytes);
    }
  }
}

TEST_CASE("All blocks together are bounded: those kept make room, those lent do not") {
  BlockPool pool(16 * kMiB);
  CHECK(pool.lend(17 * kMiB) == nullptr);
  CHECK(pool.lend(std::int64_t{1} << 60) == nullptr);
  std::vector<void*> lent;
  for (int i = 0; i < 4; ++i) lent.push_back(pool.lend(4 * kMiB));
  CHECK(std::set<void*>(lent.begin(), lent.end()).size() == 4);
  CHECK(pool.lend(4 * kMiB) == nullptr);
  CHECK(pool.lend(1) == nullptr);
  for (void* block : lent) pool.take_back(block, 4 * kMiB);
  void* const large = pool.lend(10 * kMiB);  // unmaps three of the four
  REQUIRE(large != nullptr);
  std::memset(large, 1, 10 * kMiB);
  CHECK(pool.lend(4 * kMiB) == lent[3]);
  CHECK(pool.lend(4 * kMiB) == nullptr);
  pool.take_back(lent[3], 4 * kMiB);
  pool.unmap_kept();
  CHECK(pool.lend(4 * kMiB) != nullptr);
  CHECK(pool.lend(4 * kMiB) == nullptr);
}

TEST_CASE("Threads never have one block at once") {
  BlockPool pool(24 * kMiB);
  std::atomic<int> wrong{0};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int id = 1; id <= 6; ++id) {
    threads.emplace_back([&, id] {
      for (int i = 0; i < 300; ++i) {
        const std::int64_t bytes = (i % 5 + 1) * 200 * kKiB;
        auto* const block = static_cast<char*>(pool.lend(bytes));
        if (block == nullptr) continue;
        ++served;
        block[0] = block[bytes - 1] = static_cast<char>(id);
        std::this_thread::yield();
        if (block[0] != id || block[bytes - 1] != id) ++wrong;
        pool.take_back(block, bytes);
        if (i % 50 == id) pool.unmap_kept();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(served.load() == 1800);
}

#else

TEST_CASE("Other systems have nothing to lend") { CHECK(BlockPool(kMiB).lend(1) == nullptr); }

#endif

}  // namespace
}  // namespace rmsnorm::memory
