// Global memory and its shadow. The shadow records which bytes were ever written, and which blocks
// of the current launch read and wrote which granules.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "machine.h"
#include "numbers.h"

namespace cudasim {

// An allocation: its contents, one bit per byte for "was written", and for each granule the serial
// numbers of the blocks that last wrote and read it. All four share one lazily populated mapping.
struct Allocation {
  u64 address = 0;
  std::size_t bytes = 0;
  std::byte* data = nullptr;
  u64* written = nullptr;
  u32* writers = nullptr;
  u32* readers = nullptr;
  void* mapping = nullptr;
  std::size_t mapped_bytes = 0;

  bool holds(u64 first, std::size_t count) const {
    return first - address < bytes && count <= bytes - (first - address);
  }
};

enum class Access : u8 { kRead, kWrite, kAtomic };

enum class Trouble : u8 { kNone, kOutOfBounds, kUseAfterFree, kUninitialised, kRace };

class DeviceMemory::Impl {
 public:
  explicit Impl(std::size_t capacity);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  u64 allocate(std::size_t bytes);
  void free(u64 address);
  std::size_t free_bytes() const { return capacity_ - used_; }
  const std::map<u64, Allocation>& allocations() const { return live_; }

  // The live allocation that holds all the bytes, else null.
  Allocation* find(u64 address, std::size_t bytes);
  // Explains in `what` why find() returned null. Returns kUseAfterFree or kOutOfBounds.
  Trouble diagnose(u64 address, std::string& what) const;

  // For copies and fills: the host address, after all checks. The Fault names the operation.
  std::byte* checked(u64 address, std::size_t bytes, Access access, const char* operation);

  // Reserves serial numbers for the blocks of a launch. The result is one less than the first.
  u32 reserve_serials(u64 blocks);

 private:
  std::size_t capacity_;
  std::size_t used_ = 0;
  u64 next_address_;
  u32 next_serial_ = 1;
  std::map<u64, Allocation> live_;
  std::map<u64, u64> freed_;  // begin to end; addresses are never reused
};

// Tests and sets the bits first … first + count - 1.
bool all_set(const u64* bits, std::size_t first, std::size_t count);
void set_all(u64* bits, std::size_t first, std::size_t count);

// Global memory as one launch accesses it.
class GlobalView {
 public:
  // A launch of one block is not checked for races.
  GlobalView(DeviceMemory::Impl& memory, u64 blocks, int granule_shift);

  void begin_block(u64 linear_block) { self_ = many_ + 1 + static_cast<u32>(linear_block); }

  // The host address of device memory that a lane, or consecutive lanes, access, after all checks.
  // Null if a check fails, with the reason in `trouble`. `hint` caches the allocation found last.
  std::byte* touch(u64 address, std::size_t bytes, Access access, Allocation*& hint,
                   Trouble& trouble);

  DeviceMemory::Impl& memory() { return memory_; }
  // For messages: the linear index of the block that last wrote the granule in this launch, else
  // -1.
  s64 writer_of(u64 address);

 private:
  bool touch_granules(Allocation& allocation, std::size_t begin, std::size_t end, Access access);

  DeviceMemory::Impl& memory_;
  const bool races_;
  const int granule_shift_;
  // As the reader of a granule: several blocks. Lower serial numbers belong to earlier launches.
  const u32 many_;
  u32 self_ = 0;
};

}  // namespace cudasim
