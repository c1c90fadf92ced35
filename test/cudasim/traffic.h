// Counts what a launch moves: for each allocation of global memory, and for shared memory.
#pragma once

#include <map>
#include <vector>

#include "memory.h"
#include "program.h"

namespace cudasim {

class TrafficCounter {
 public:
  explicit TrafficCounter(DeviceMemory::Impl& memory) : memory_(memory) {}

  // One instruction of a warp: lanes in `active` access `bytes` each. Atomics are both.
  void count_global(const u64* addresses, Mask active, std::size_t bytes, Access access);
  void count_shared(const u64* addresses, Mask active, std::size_t bytes);

  // Into the report; buffers in the order of their addresses.
  void finish(LaunchReport& report) const;

 private:
  struct Buffer {
    BufferTraffic traffic;
    std::vector<u64> read, written;  // a bit for each sector
  };

  DeviceMemory::Impl& memory_;
  std::map<u64, Buffer> buffers_;
  std::int64_t shared_requests_ = 0, shared_wavefronts_ = 0;
};

}  // namespace cudasim
