// Runs one block of threads, all its warps, from the first instruction to the last.
#pragma once

#include <memory>
#include <vector>

#include "warp.h"

namespace cudasim {

// A launch has one Block object, which runs its blocks one after another in the same memory.
class Block {
 public:
  explicit Block(Machine& machine);

  // Runs the block at machine.block to its end.
  void run(u64 linear_block);

 private:
  void begin(u64 linear_block);
  void set_specials(Warp& warp);
  void run_warp(Warp& warp);
  void release(std::vector<Warp*>& waiting);
  u32 special_value(Special special, u32 thread) const;

  Machine& machine_;
  std::size_t threads_;
  std::size_t register_stride_;
  std::vector<std::byte> registers_;
  std::vector<Mask> written_;
  std::vector<Warp> warps_;
  std::vector<u32> order_;
  u64 random_ = 0;
};

}  // namespace cudasim
