// The local memory of a block's threads: arrays that nvcc could not keep in registers.
#pragma once

#include <algorithm>
#include <vector>

#include "memory.h"
#include "program.h"

namespace cudasim {

class LocalMemory {
 public:
  LocalMemory(std::size_t bytes_per_thread, std::size_t warps)
      : bytes_(bytes_per_thread),
        data_(bytes_per_thread * kLanes * warps),
        written_(bytes_per_thread * kLanes * warps) {}

  void begin_block() { std::fill(written_.begin(), written_.end(), u8{0}); }

  std::byte* touch(u64 address, std::size_t bytes, Access access, u32 warp, int lane,
                   Trouble& trouble) {
    if (address >= bytes_ || bytes > bytes_ - address) {
      trouble = Trouble::kOutOfBounds;
      return nullptr;
    }
    const std::size_t begin = (warp * kLanes + static_cast<u32>(lane)) * bytes_ + address;
    for (std::size_t k = begin; k < begin + bytes; ++k) {
      if (access == Access::kRead && written_[k] == 0) {
        trouble = Trouble::kUninitialised;
        return nullptr;
      }
      written_[k] = 1;
    }
    return data_.data() + begin;
  }

 private:
  std::size_t bytes_;
  std::vector<std::byte> data_;
  std::vector<u8> written_;
};

}  // namespace cudasim
