// The shared memory of the block that runs, with a record of who accessed what since the last
// barrier.
//
// Two accesses to the same bytes by different threads, at least one a write, must be ordered: by a
// barrier of the block, or between lanes of one warp by bar.warp.sync. Shuffles and votes do not
// order memory. Time is counted in epochs: the block's barriers start new ones, over all blocks of
// the launch, so that nothing needs to be cleared between blocks; and inside a warp each
// bar.warp.sync does.
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

  // As GlobalView::touch, for one lane.
  std::byte* touch(u64 address, std::size_t bytes, Access access, u32 warp, int lane,
                   Trouble& trouble);
  // "thread 3 wrote", after a race.
  const std::string& opponent() const { return opponent_; }

 private:
  struct Record {
    u32 write_epoch = 0, read_epoch = 0;
    u32 write_order = 0, read_order = 0;  // the warp's epochs
    Mask readers = 0;                     // lanes of the reading warp that are not ordered yet
    u16 writer = 0;                       // thread of the block
    u8 reading_warp = 0;
    bool many_warps = false;  // readers of several warps
    bool atomic = false;      // the last write
  };
  // 16 bytes, which have a record of their own as long as they are accessed as a whole, and one for
  // each granule once they were not.
  static constexpr std::size_t kPackBytes = 16;
  struct Pack {
    Record record;
    bool split = false;
  };
  // Which lanes of a warp know of which others' accesses. Mostly all are ordered at once; subsets
  // keep a clock for each pair of lanes.
  struct WarpOrder {
    u32 now = 1;
    u32 all = 0;  // before this, all is ordered
    bool subsets = false;
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
  u32 first_epoch_ = 1;  // of this block: what was written before is of another block
  std::string opponent_;
};

}  // namespace cudasim
