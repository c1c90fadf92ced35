#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "warp.h"

namespace cudasim {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGuard = std::size_t{1} << 20;

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::string range(u64 address, std::size_t bytes) {
  return hex(address) + " (" + std::to_string(bytes) + " bytes)";
}

}  // namespace

bool all_set(const u64* bits, std::size_t first, std::size_t count) {
  std::size_t word = first / 64;
  const std::size_t shift = first % 64;
  if (shift + count <= 64) {
    const u64 wanted = (count == 64 ? ~u64{0} : (u64{1} << count) - 1) << shift;
    return (bits[word] & wanted) == wanted;
  }
  if ((~bits[word] >> shift) != 0) return false;
  count -= 64 - shift;
  u64 missing = 0;
  for (++word; count >= 64; ++word, count -= 64) missing |= ~bits[word];
  const u64 tail = (u64{1} << count) - 1;
  return missing == 0 && (tail == 0 || (bits[word] & tail) == tail);
}

void set_all(u64* bits, std::size_t first, std::size_t count) {
  std::size_t word = first / 64;
  const std::size_t shift = first % 64;
  if (shift + count <= 64) {
    bits[word] |= (count == 64 ? ~u64{0} : (u64{1} << count) - 1) << shift;
    return;
  }
  bits[word] |= ~u64{0} << shift;
  count -= 64 - shift;
  for (++word; count >= 64; ++word, count -= 64) bits[word] = ~u64{0};
  if (count != 0) bits[word] |= (u64{1} << count) - 1;
}

// Each device has an address range of its own, so that an address identifies its device.
DeviceMemory::Impl::Impl(std::size_t capacity) : capacity_(capacity) {
  static std::atomic<u64> made{0};
  next_address_ = (u64{0x10} + made++ % 0x60) << 40 | 0x100;
}

DeviceMemory::Impl::~Impl() {
  for (const auto& [address, allocation] : live_) {
    munmap(allocation.mapping, allocation.mapped_bytes);
  }
}

u64 DeviceMemory::Impl::allocate(std::size_t bytes) {
  if (bytes == 0 || bytes > free_bytes() || round_up(bytes, kAlignment) > free_bytes()) return 0;
  constexpr std::size_t kPage = 4096;
  const std::size_t data_bytes = round_up(bytes, kPage);
  const std::size_t bit_bytes = round_up(bytes / 8 + 8, kPage);
  const std::size_t serial_bytes = round_up(bytes * sizeof(u32), kPage);  // granules of one byte
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.mapped_bytes = data_bytes + bit_bytes + 2 * serial_bytes;
  allocation.mapping = mmap(nullptr, allocation.mapped_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (allocation.mapping == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
  // Populating a large allocation in pages of 4 KiB would take longer than the kernels that use it.
  // Huge allocations keep small pages, since tests touch only scattered pages of them.
  constexpr std::size_t kLarge = std::size_t{4} << 20;
  constexpr std::size_t kSparse = std::size_t{16} << 30;
  if (allocation.mapped_bytes >= kLarge && allocation.mapped_bytes < kSparse) {
    madvise(allocation.mapping, allocation.mapped_bytes, MADV_HUGEPAGE);
  }
#endif
  allocation.data = static_cast<std::byte*>(allocation.mapping);
  allocation.written = reinterpret_cast<u64*>(allocation.data + data_bytes);
  allocation.writers = reinterpret_cast<u32*>(allocation.data + data_bytes + bit_bytes);
  allocation.readers =
      reinterpret_cast<u32*>(allocation.data + data_bytes + bit_bytes + serial_bytes);
  // A multiple of 256 and never of 512, so that code that relies on more alignment fails. The guard
  // grows with the allocation, so that a wrong stride does not reach the next allocation.
  allocation.address = next_address_;
  next_address_ += round_up(bytes + kGuard + bytes / 2, 2 * kAlignment);
  used_ += round_up(bytes, kAlignment);
  return live_.emplace(allocation.address, allocation).first->first;
}

void DeviceMemory::Impl::free(u64 address) {
  const auto found = live_.find(address);
  if (found == live_.end()) {
    const bool twice = freed_.contains(address);
    throw Fault(twice ? "use-after-free" : "out-of-bounds",
                hex(address) + (twice ? " is freed twice" : " is freed and was never allocated"));
  }
  const Allocation& allocation = found->second;
  munmap(allocation.mapping, allocation.mapped_bytes);
  used_ -= round_up(allocation.bytes, kAlignment);
  freed_[address] = address + allocation.bytes;
  live_.erase(found);
}

Allocation* DeviceMemory::Impl::find(u64 address, std::size_t bytes) {
  auto after = live_.upper_bound(address);
  if (after == live_.begin()) return nullptr;
  Allocation& candidate = std::prev(after)->second;
  return candidate.holds(address, bytes) ? &candidate : nullptr;
}

Trouble DeviceMemory::Impl::diagnose(u64 address, std::string& what) const {
  if (const auto after = freed_.upper_bound(address);
      after != freed_.begin() && address < std::prev(after)->second) {
    what = "the allocation at " + hex(std::prev(after)->first) + " was freed";
    return Trouble::kUseAfterFree;
  }
  const auto after = live_.upper_bound(address);
  if (after != live_.begin()) {
    const Allocation& below = std::prev(after)->second;
    const u64 end = below.address + below.bytes;
    what =
        address < end ? "runs over the end of " : std::to_string(address - end) + " bytes after ";
    what += "the allocation at " + range(below.address, below.bytes);
  } else {
    what = "no allocation is near";
  }
  if (after != live_.end() && after->first - address < kGuard / 2) {
    what += ", " + std::to_string(after->first - address) + " bytes before the one at " +
            hex(after->first);
  }
  return Trouble::kOutOfBounds;
}

std::byte* DeviceMemory::Impl::checked(u64 address, std::size_t bytes, Access access,
                                       const char* operation) {
  Allocation* allocation = find(address, bytes);
  const std::string where = std::string(operation) + " of " + range(address, bytes) + ": ";
  if (allocation == nullptr) {
    std::string what;
    const Trouble trouble = diagnose(address, what);
    throw Fault(trouble == Trouble::kUseAfterFree ? "use-after-free" : "out-of-bounds",
                where + what);
  }
  const std::size_t offset = address - allocation->address;
  if (access == Access::kWrite) {
    set_all(allocation->written, offset, bytes);
  } else if (!all_set(allocation->written, offset, bytes)) {
    std::size_t first = offset;
    while (all_set(allocation->written, first, 1)) ++first;
    throw Fault("uninitialised",
                where + "byte " + std::to_string(first - offset) + " was never written");
  }
  return allocation->data + offset;
}

u32 DeviceMemory::Impl::reserve_serials(u64 blocks) {
  if (blocks + 2 > ~u32{0} - next_serial_) {  // once in about four billion blocks: start again
    for (auto& [address, allocation] : live_) {
      const auto begin = reinterpret_cast<std::byte*>(allocation.writers);
      const auto end = static_cast<std::byte*>(allocation.mapping) + allocation.mapped_bytes;
      madvise(begin, static_cast<std::size_t>(end - begin), MADV_DONTNEED);
    }
    next_serial_ = 1;
  }
  const u32 first = next_serial_;
  next_serial_ += static_cast<u32>(blocks) + 1;
  return first;
}

GlobalView::GlobalView(DeviceMemory::Impl& memory, u64 blocks, int granule_shift)
    : memory_(memory),
      races_(blocks > 1),
      granule_shift_(granule_shift),
      many_(memory.reserve_serials(blocks)) {}

std::byte* GlobalView::touch(u64 address, std::size_t bytes, Access access, Allocation*& hint,
                             Trouble& trouble) {
  if (hint == nullptr || !hint->holds(address, bytes)) {
    Allocation* found = memory_.find(address, bytes);
    if (found == nullptr) {
      std::string what;
      trouble = memory_.diagnose(address, what);
      return nullptr;
    }
    hint = found;
  }
  Allocation& allocation = *hint;
  const std::size_t offset = address - allocation.address;
  if (access != Access::kWrite && !all_set(allocation.written, offset, bytes)) {
    trouble = Trouble::kUninitialised;
    return nullptr;
  }
  if (races_ && !touch_granules(allocation, offset >> granule_shift_,
                                ((offset + bytes - 1) >> granule_shift_) + 1, access)) {
    trouble = Trouble::kRace;
    return nullptr;
  }
  if (access != Access::kRead) set_all(allocation.written, offset, bytes);
  return allocation.data + offset;
}

// Returns false if the access conflicts with one of another block. An atomic is recorded as a read,
// so that it conflicts only with non-atomic writes.
bool GlobalView::touch_granules(Allocation& allocation, std::size_t begin, std::size_t end,
                                Access access) {
  u32* __restrict writers = allocation.writers;
  u32* __restrict readers = allocation.readers;
  const u32 self = self_, many = many_;
  u32 conflicts = 0;
  if (access == Access::kWrite) {
    for (std::size_t g = begin; g < end; ++g) {
      const u32 writer = writers[g], reader = readers[g];
      const u32 conflict = (static_cast<u32>(writer >= many) & static_cast<u32>(writer != self)) |
                           (static_cast<u32>(reader >= many) & static_cast<u32>(reader != self));
      conflicts |= conflict;
      writers[g] = conflict != 0 ? writer : self;
    }
  } else {
    for (std::size_t g = begin; g < end; ++g) {
      conflicts |= static_cast<u32>(writers[g] >= many) & static_cast<u32>(writers[g] != self);
      readers[g] = readers[g] < many || readers[g] == self ? self : many;
    }
  }
  return conflicts == 0;
}

s64 GlobalView::writer_of(u64 address) {
  Allocation* allocation = memory_.find(address, 1);
  if (allocation == nullptr) return -1;
  const u32 writer = allocation->writers[(address - allocation->address) >> granule_shift_];
  return writer > many_ ? static_cast<s64>(writer) - many_ - 1 : -1;
}

DeviceMemory::DeviceMemory(std::size_t capacity) : impl_(std::make_unique<Impl>(capacity)) {}
DeviceMemory::~DeviceMemory() = default;

u64 DeviceMemory::allocate(std::size_t bytes) { return impl_->allocate(bytes); }
void DeviceMemory::free(u64 address) { impl_->free(address); }
std::size_t DeviceMemory::free_bytes() const { return impl_->free_bytes(); }
std::size_t DeviceMemory::live_allocations() const { return impl_->allocations().size(); }

void DeviceMemory::write(u64 address, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  std::memcpy(impl_->checked(address, bytes, Access::kWrite, "copy to the device"), source, bytes);
}

void DeviceMemory::read(u64 address, void* destination, std::size_t bytes) const {
  if (bytes == 0) return;
  std::memcpy(destination, impl_->checked(address, bytes, Access::kRead, "copy from the device"),
              bytes);
}

void DeviceMemory::copy(u64 destination, u64 source, std::size_t bytes) {
  if (bytes == 0) return;
  const std::byte* from = impl_->checked(source, bytes, Access::kRead, "copy on the device");
  std::memmove(impl_->checked(destination, bytes, Access::kWrite, "copy on the device"), from,
               bytes);
}

template <class Element>
void DeviceMemory::fill(u64 address, Element value, std::size_t count) {
  if (count == 0) return;
  const std::size_t bytes = count * sizeof value;
  auto* data = reinterpret_cast<Element*>(impl_->checked(address, bytes, Access::kWrite, "fill"));
  std::fill_n(data, count, value);
}
template void DeviceMemory::fill(u64, unsigned char, std::size_t);
template void DeviceMemory::fill(u64, unsigned short, std::size_t);
template void DeviceMemory::fill(u64, unsigned, std::size_t);

DeviceModel DeviceModel::of(int major, int minor) {
  // For each capability, CUDA's documented limits and a GPU that has it, newest first. A capability
  // between two rows takes the older row.
  constexpr struct {
    int capability, multiprocessors, gigabytes, shared_optin_kib, cache_mib;
  } kModels[] = {
      {120, 170, 32, 99, 96},     // RTX 5090
      {100, 148, 180, 227, 126},  // B200
      {90, 132, 80, 227, 50},     // H100
      {89, 128, 24, 99, 72},      // RTX 4090
      {87, 16, 32, 163, 4},       // Jetson AGX Orin
      {86, 84, 48, 99, 6},        // A40
      {80, 108, 40, 163, 40},     // A100
      {75, 40, 16, 64, 4},        // T4
      {70, 80, 32, 96, 6},        // V100
  };
  for (const auto& [capability, multiprocessors, gigabytes, shared_optin_kib, cache_mib] :
       kModels) {
    if (10 * major + minor < capability) continue;
    DeviceModel model;
    model.major = major;
    model.minor = minor;
    model.multiprocessors = multiprocessors;
    model.memory_bytes = static_cast<std::size_t>(gigabytes) << 30;
    model.shared_optin_bytes = static_cast<std::size_t>(shared_optin_kib) << 10;
    model.cache_bytes = static_cast<std::size_t>(cache_mib) << 20;
    return model;
  }
  throw std::invalid_argument("no model of compute capability " + std::to_string(major) + "." +
                              std::to_string(minor));
}

}  // namespace cudasim
