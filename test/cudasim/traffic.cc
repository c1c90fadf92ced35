#include "traffic.h"

#include <algorithm>
#include <array>
#include <bit>
#include <new>

namespace cudasim {
namespace {

constexpr u64 kSector = 32;
constexpr u32 kBanks = 32;
constexpr u64 kBankBytes = 4;

std::int64_t set_new(u64* bits, u64 bit) {
  u64& word = bits[bit / 64];
  const u64 one = u64{1} << bit % 64;
  const bool is_new = (word & one) == 0;
  word |= one;
  return is_new ? 1 : 0;
}

}  // namespace

TrafficCounter::Sectors TrafficCounter::no_sectors(std::size_t bytes) {
  Sectors bits(static_cast<u64*>(std::calloc(bytes / kSector / 64 + 1, sizeof(u64))));
  if (bits == nullptr) throw std::bad_alloc();
  return bits;
}

void TrafficCounter::count_global(const u64* addresses, Mask active, std::size_t bytes,
                                  Access access) {
  while (active != 0) {  // once for each allocation that is accessed: mostly one
    const u64 first = addresses[std::countr_zero(active)];
    const Allocation* allocation = memory_.find(first, bytes);
    if (allocation == nullptr) return;
    Buffer& buffer = buffers_[allocation->address];
    BufferTraffic& traffic = buffer.traffic;
    if (buffer.read == nullptr) {
      traffic.address = allocation->address;
      traffic.bytes = allocation->bytes;
      buffer.read = no_sectors(allocation->bytes);
      buffer.written = no_sectors(allocation->bytes);
    }
    std::array<u64, kLanes> sectors;
    std::size_t count = 0;
    const bool reads = access != Access::kWrite, writes = access != Access::kRead;
    for (Mask left = active; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      if (!allocation->holds(addresses[lane], bytes)) continue;
      active &= ~(Mask{1} << lane);
      // An aligned access of at most 16 bytes lies in one sector. Allocations begin on a sector.
      const u64 sector = (addresses[lane] - allocation->address) / kSector;
      sectors[count++] = sector;
      if (reads) traffic.read_sectors += set_new(buffer.read.get(), sector);
      if (writes) traffic.written_sectors += set_new(buffer.written.get(), sector);
    }
    const auto lanes = static_cast<std::int64_t>(count);
    const auto end = sectors.begin() + static_cast<std::ptrdiff_t>(count);
    std::sort(sectors.begin(), end);
    traffic.sectors_requested += std::unique(sectors.begin(), end) - sectors.begin();
    traffic.accesses_by_width[std::countr_zero(bytes)] += lanes;
    const auto total = lanes * static_cast<std::int64_t>(bytes);
    if (reads) {
      ++traffic.read_requests;
      traffic.bytes_read += total;
    }
    if (writes) {
      ++traffic.write_requests;
      traffic.bytes_written += total;
    }
  }
}

// A wavefront serves 128 bytes: one word of each bank. Accesses of 8 bytes are served by half warp,
// accesses of 16 bytes by quarter warp.
void TrafficCounter::count_shared(const u64* addresses, Mask active, std::size_t bytes) {
  ++shared_requests_;
  const int lanes = bytes <= kBankBytes ? kLanes : kLanes * 4 / static_cast<int>(bytes);
  for (int begin = 0; begin < kLanes; begin += lanes) {
    std::array<u64, kLanes * 4> words;
    std::size_t count = 0;
    for (int lane = begin; lane < begin + lanes; ++lane) {
      if ((active >> lane & 1) == 0) continue;
      for (u64 byte = 0; byte < bytes; byte += kBankBytes) {
        words[count++] = (addresses[lane] + byte) / kBankBytes;
      }
    }
    const auto end = words.begin() + static_cast<std::ptrdiff_t>(count);
    std::sort(words.begin(), end);
    std::array<int, kBanks> load{};
    std::for_each(words.begin(), std::unique(words.begin(), end),
                  [&](u64 word) { ++load[word % kBanks]; });
    shared_wavefronts_ += *std::max_element(load.begin(), load.end());
  }
}

void TrafficCounter::add_to(LaunchReport& report) const {
  for (const auto& [address, buffer] : buffers_) report.buffers.push_back(buffer.traffic);
  report.shared_requests = shared_requests_;
  report.shared_wavefronts = shared_wavefronts_;
}

}  // namespace cudasim
