// Counts the memory traffic of a launch, for each allocation of global memory and for shared
// memory.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>

#include "memory.h"
#include "program.h"

namespace cudasim {

class TrafficCounter {
 public:
  explicit TrafficCounter(DeviceMemory::Impl& memory) : memory_(memory) {}

  // One instruction of a warp: each lane in `active` accesses `bytes`. An atomic reads and writes.
  void count_global(const u64* addresses, Mask active, std::size_t bytes, Access access);
  void count_shared(const u64* addresses, Mask active, std::size_t bytes);

  // Adds the counts to the report, with buffers in the order of their addresses.
  void add_to(LaunchReport& report) const;

 private:
  // One bit per sector. Zeros from calloc take physical memory only once they change.
  struct Free {
    void operator()(u64* bits) const { std::free(bits); }
  };
  using Sectors = std::unique_ptr<u64[], Free>;
  struct Buffer {
    BufferTraffic traffic;
    Sectors read, written;
  };
  static Sectors no_sectors(std::size_t bytes);

  DeviceMemory::Impl& memory_;
  std::map<u64, Buffer> buffers_;
  std::int64_t shared_requests_ = 0, shared_wavefronts_ = 0;
};

}  // namespace cudasim
