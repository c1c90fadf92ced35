// Global memory and its shadow: which bytes were written ever, and which blocks of the running
// launch read and wrote which granules.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "machine.h"
#include "numbers.h"

namespace cudasim {

// All of it is one lazily populated mapping. An allocation's contents, a bit a byte for "was
// written", and for each granule the serial numbers of the blocks that wrote and read it last.
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
  // Why find() found none, in words; sets the kind of the fault.
  Trouble diagnose(u64 address, std::string& what) const;

  // Copies and fills: faults that name the operation.
  std::byte* checked(u64 address, std::size_t bytes, Access access, const char* operation);

  // Sets aside serial numbers for the blocks of a launch, `first` being none of them.
  u32 reserve_serials(u64 blocks);

 private:
  std::size_t capacity_;
  std::size_t used_ = 0;
  u64 next_address_;
  u32 next_serial_ = 1;
  std::map<u64, Allocation> live_;
  std::map<u64, u64> freed_;  // addresses are never given out again: begin to end
};

// Whether bits first … first + count - 1 are all set; sets them.
bool all_set(const u64* bits, std::size_t first, std::size_t count);
void set_all(u64* bits, std::size_t first, std::size_t count);

// What one launch sees of global memory.
class GlobalView {
 public:
  // Without races where there is one block.
  GlobalView(DeviceMemory::Impl& memory, u64 blocks, int granule_shift);

  void begin_block(u64 linear_block) { self_ = many_ + 1 + static_cast<u32>(linear_block); }

  // The host's address of device memory that a lane or consecutive lanes access, after all checks;
  // null and `trouble` if one of them fails. `hint` is the allocation found the last time.
  std::byte* touch(u64 address, std::size_t bytes, Access access, Allocation*& hint,
                   Trouble& trouble);

  DeviceMemory::Impl& memory() { return memory_; }
  // Of the block that wrote the granule last in this launch, for messages; -1 if none did.
  s64 writer_of(u64 address);

 private:
  bool touch_granules(Allocation& allocation, std::size_t begin, std::size_t end, Access access);

  DeviceMemory::Impl& memory_;
  const bool races_;
  const int granule_shift_;
  const u32 many_;  // as a reader: several blocks; lower numbers are of launches before
  u32 self_ = 0;
};

}  // namespace cudasim
