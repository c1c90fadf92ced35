// The shared memory of the running block, with a record of the accesses since the last barrier.
//
// Two accesses to the same bytes by different threads, at least one of them a write, must be
// ordered by a barrier of the block or, between lanes of one warp, by bar.warp.sync. Shuffles and
// votes do not order memory. Time is counted in epochs. Each barrier of a block starts a new epoch;
// epochs count on over all blocks of the launch, so that nothing is cleared between blocks. Each
// warp also has a clock of its own, which its bar.warp.sync instructions advance.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "memory.h"
#include "program.h"

namespace cudasim {

class SharedMemory {
 public:
  SharedMemory(std::size_t bytes, std::size_t warps, int granule_shift);

  void begin_block();
  void barrier() { ++epoch_; }
  void order_lanes(u32 warp, Mask members, Mask live);

  std::size_t size() const { return data_.size(); }

  // Like GlobalView::touch, for one lane.
  std::byte* touch(u64 address, std::size_t bytes, Access access, u32 warp, int lane,
                   Trouble& trouble);
  // After a race, the other access, such as "thread 3 wrote".
  const std::string& opponent() const { return opponent_; }

 private:
  struct Record {
    u32 write_epoch = 0, read_epoch = 0;
    u32 write_order = 0, read_order = 0;  // of the warp's clock
    Mask readers = 0;                     // lanes of the reading warp that are not ordered yet
    u16 writer = 0;                       // thread of the block
    u8 reading_warp = 0;
    bool many_warps = false;  // lanes of several warps read
    bool atomic = false;      // the last write was atomic
  };
  // 16 bytes. They share one record while every access covers all of them. After a narrower access,
  // `split`, each granule has its own record.
  static constexpr std::size_t kPackBytes = 16;
  struct Pack {
    Record record;
    bool split = false;
  };
  // Which accesses of one lane of a warp are ordered before those of another. Usually one
  // bar.warp.sync orders all lanes. A bar.warp.sync of a subset needs a time for each pair of
  // lanes.
  struct WarpOrder {
    u32 now = 1;
    u32 all = 0;           // accesses before this time are ordered for all lanes
    bool subsets = false;  // `known` is in use
    std::array<std::array<u32, kLanes>, kLanes> known{};
  };

  bool ordered(u32 thread, u32 order, u32 warp, int lane) const;
  Mask unordered_readers(const Record& record, u32 warp, int lane) const;
  Trouble check(Record& record, Access access, u32 warp, int lane);
  bool conflicts(Record& record, Access access, u32 warp, int lane);

  std::vector<std::byte> data_;
  std::vector<Pack> packs_;
  std::vector<Record> records_;
  std::vector<WarpOrder> orders_;
  int granule_shift_;
  u32 epoch_ = 0;
  u32 first_epoch_ = 1;  // of this block; earlier writes belong to other blocks
  std::string opponent_;
};

}  // namespace cudasim
