#include "shared_memory.h"

#include <algorithm>
#include <bit>

namespace cudasim {

SharedMemory::SharedMemory(std::size_t bytes, std::size_t warps, int granule_shift)
    : data_(bytes),
      packs_(bytes / kPackBytes + 1),
      records_(packs_.size() * (kPackBytes >> granule_shift)),
      orders_(bytes == 0 ? 0 : warps),
      granule_shift_(granule_shift) {}

void SharedMemory::begin_block() { first_epoch_ = ++epoch_; }

void SharedMemory::order_lanes(u32 warp, Mask members, Mask live) {
  if (orders_.empty()) return;
  WarpOrder& order = orders_[warp];
  ++order.now;
  if ((live & ~members) == 0) {
    order.all = order.now;
    order.subsets = false;
    return;
  }
  if (!order.subsets) {
    for (auto& row : order.known) row.fill(order.all);
    order.subsets = true;
  }
  std::array<u32, kLanes> merged{};
  for (Mask left = members; left != 0; left &= left - 1) {
    const auto& row = order.known[static_cast<std::size_t>(std::countr_zero(left))];
    for (std::size_t k = 0; k < kLanes; ++k) merged[k] = std::max(merged[k], row[k]);
  }
  for (Mask left = members; left != 0; left &= left - 1) {
    merged[static_cast<std::size_t>(std::countr_zero(left))] = order.now;
  }
  for (Mask left = members; left != 0; left &= left - 1) {
    order.known[static_cast<std::size_t>(std::countr_zero(left))] = merged;
  }
}

// Whether an access by `thread`, made when its warp's clock showed `order`, is ordered before an
// access by `lane` now, without a barrier of the block between them.
bool SharedMemory::ordered(u32 thread, u32 order, u32 warp, int lane) const {
  if (thread / kLanes != warp) return false;
  const WarpOrder& clock = orders_[warp];
  const u32 other = thread % kLanes;
  if (other == static_cast<u32>(lane) || order < clock.all) return true;
  return clock.subsets && order < clock.known[static_cast<std::size_t>(lane)][other];
}

// The readers in this lane's warp that are not ordered before it.
Mask SharedMemory::unordered_readers(const Record& record, u32 warp, int lane) const {
  const WarpOrder& clock = orders_[warp];
  const Mask others = record.readers & ~(Mask{1} << lane);
  if (others == 0 || record.read_order < clock.all) return 0;
  if (!clock.subsets) return others;
  Mask result = 0;
  for (Mask left = others; left != 0; left &= left - 1) {
    const int other = std::countr_zero(left);
    const u32 thread = warp * kLanes + static_cast<u32>(other);
    if (!ordered(thread, record.read_order, warp, lane)) result |= Mask{1} << other;
  }
  return result;
}

bool SharedMemory::conflicts(Record& record, Access access, u32 warp, int lane) {
  const u32 now = orders_[warp].now;
  const bool both_atomic = access == Access::kAtomic && record.atomic;
  if (record.write_epoch == epoch_ && !both_atomic &&
      !ordered(record.writer, record.write_order, warp, lane)) {
    opponent_ = "thread " + std::to_string(record.writer) + " wrote";
    return true;
  }
  const bool read = record.read_epoch == epoch_;
  const bool other_warp = read && record.reading_warp != warp;
  const Mask readers = read && !other_warp ? unordered_readers(record, warp, lane) : 0;
  if (access == Access::kRead) {
    record.many_warps = read && (record.many_warps || other_warp);
    // A reader that is ordered before this one can be dropped: an access that is ordered after this
    // reader is ordered after that one too.
    record.readers = readers | Mask{1} << lane;
    record.reading_warp = static_cast<u8>(warp);
    record.read_epoch = epoch_;
    record.read_order = now;
    return false;
  }
  if (other_warp || readers != 0 || (read && record.many_warps)) {
    const Mask named = readers != 0 ? readers : record.readers;
    const u32 reader =
        record.reading_warp * u32{kLanes} + static_cast<u32>(std::countr_zero(named));
    opponent_ = "thread " + std::to_string(reader) + " read";
    return true;
  }
  record.write_epoch = epoch_;
  record.write_order = now;
  record.writer = static_cast<u16>(warp * kLanes + static_cast<u32>(lane));
  record.atomic = access == Access::kAtomic;
  return false;
}

Trouble SharedMemory::check(Record& record, Access access, u32 warp, int lane) {
  if (access != Access::kWrite && record.write_epoch < first_epoch_) return Trouble::kUninitialised;
  return conflicts(record, access, warp, lane) ? Trouble::kRace : Trouble::kNone;
}

std::byte* SharedMemory::touch(u64 address, std::size_t bytes, Access access, u32 warp, int lane,
                               Trouble& trouble) {
  if (address >= data_.size() || bytes > data_.size() - address) {
    trouble = Trouble::kOutOfBounds;
    return nullptr;
  }
  std::byte* const host = data_.data() + address;
  const std::size_t granules = kPackBytes >> granule_shift_;
  Pack& pack = packs_[address / kPackBytes];
  if (bytes == kPackBytes && !pack.split) {
    trouble = check(pack.record, access, warp, lane);
    return trouble == Trouble::kNone ? host : nullptr;
  }
  Record* const granule_records = &records_[address / kPackBytes * granules];
  if (!pack.split) {
    std::fill_n(granule_records, granules, pack.record);
    pack.split = true;
  }
  const std::size_t begin = address % kPackBytes >> granule_shift_;
  const std::size_t end = begin + (bytes >> granule_shift_);
  for (std::size_t granule = begin; granule < end; ++granule) {
    trouble = check(granule_records[granule], access, warp, lane);
    if (trouble != Trouble::kNone) return nullptr;
  }
  if (bytes == kPackBytes && access == Access::kWrite) {
    // An access that is ordered after this write is ordered after all earlier accesses too.
    pack.record = granule_records[0];
    pack.split = false;
  }
  return host;
}

}  // namespace cudasim
