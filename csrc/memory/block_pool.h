// Blocks of memory that are lent, come back and are lent again: writing pages for the first time
// takes ten times as long as writing them again.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace rmsnorm::memory {

// What a block for `bytes`, from 1 up, is large: less than 1.25 times as much in small blocks,
// whole huge pages in large ones. Blocks of one size stand in for each other.
std::int64_t block_bytes(std::int64_t bytes);

// Callable from any number of threads.
class BlockPool {
 public:
  // `most_bytes`: of all blocks together, lent or kept.
  explicit BlockPool(std::int64_t most_bytes) : most_bytes_(most_bytes) {}
  ~BlockPool() { unmap_kept(); }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A block for `bytes`, which holds whatever it held last; null if all that may be lent is, or the
  // system has none.
  void* lend(std::int64_t bytes);

  // Takes back what lend() returned for as many `bytes`, and keeps it.
  void take_back(void* block, std::int64_t bytes);

  // Gives what is kept back to the system.
  void unmap_kept();

 private:
  struct Block {
    void* memory;
    std::int64_t bytes;
  };

  void* find_kept(std::int64_t bytes);
  void unmap_oldest();

  const std::int64_t most_bytes_;
  std::mutex mutex_;
  std::int64_t lent_bytes_ = 0;
  std::int64_t kept_bytes_ = 0;
  std::size_t lent_count_ = 0;
  std::vector<Block> kept_;  // the oldest first, with room for all that is lent
};

}  // namespace rmsnorm::memory
