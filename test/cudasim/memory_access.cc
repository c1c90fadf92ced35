#include "memory_access.h"

#include <bit>

#include "local_memory.h"
#include "shared_memory.h"
#include "traffic.h"

namespace cudasim {
namespace {

const char* space_name(Space space) {
  switch (space) {
    case Space::kGlobal:
      return "global";
    case Space::kShared:
      return "shared";
    case Space::kLocal:
      return "local";
    case Space::kParam:
      return "parameter";
    case Space::kGeneric:
      break;
  }
  return "unknown";
}

template <class T>
void add_offsets(Warp& warp, const Instruction& i, u64* out) {
  const T* base = warp.lanes<T>(i.in[0]);
  // 32-bit addresses (shared, local) wrap around at 32 bits.
  for (int lane = 0; lane < kLanes; ++lane) {
    out[lane] = static_cast<T>(base[lane] + static_cast<T>(i.immediate));
  }
}

std::byte* touch_lane(Machine& machine, Warp& warp, Space space, u64 address, std::size_t bytes,
                      Access access, int lane, Allocation*& hint, Trouble& trouble) {
  switch (space) {
    case Space::kGlobal:
      return machine.global.touch(address, bytes, access, hint, trouble);
    case Space::kShared:
      return machine.shared.touch(address, bytes, access, warp.number, lane, trouble);
    case Space::kLocal:
      return machine.local.touch(address, bytes, access, warp.number, lane, trouble);
    case Space::kParam: {
      const auto& parameters = machine.launch.parameters;
      trouble = Trouble::kOutOfBounds;
      if (access != Access::kRead || address >= parameters.size() ||
          bytes > parameters.size() - address) {
        return nullptr;
      }
      // The const_cast is safe: the access is a read, as checked above.
      return reinterpret_cast<std::byte*>(const_cast<unsigned char*>(parameters.data() + address));
    }
    case Space::kGeneric:
      break;
  }
  return nullptr;
}

}  // namespace

void report(const Machine& machine, const Warp& warp, const Instruction& i, int lane, Space space,
            u64 address, std::size_t bytes, Trouble trouble) {
  const std::string where = std::to_string(bytes) + " bytes of " + space_name(space) +
                            " memory at " + hex(address) + ": ";
  switch (trouble) {
    case Trouble::kOutOfBounds:
    case Trouble::kUseAfterFree: {
      std::string what = "out of bounds";
      if (space == Space::kGlobal) trouble = machine.global.memory().diagnose(address, what);
      if (space == Space::kShared) {
        what = "the block has " + std::to_string(machine.shared.size()) + " bytes";
      }
      machine.fail(trouble == Trouble::kUseAfterFree ? "use-after-free" : "out-of-bounds", warp, i,
                   lane, where + what);
    }
    case Trouble::kUninitialised:
      machine.fail("uninitialised", warp, i, lane, where + "read and never written");
    case Trouble::kRace:
      if (space == Space::kShared) {
        machine.fail("shared-race", warp, i, lane,
                     where + machine.shared.opponent() + " it, with no barrier in between");
      } else {
        const s64 writer = machine.global.writer_of(address);
        machine.fail("global-race", warp, i, lane,
                     where + (writer < 0 ? "another block accessed it"
                                         : "block " + std::to_string(writer) + " wrote it, too"));
      }
    case Trouble::kNone:
      break;
  }
  machine.fail("out-of-bounds", warp, i, lane, where + "not accessible");
}

void resolve_space(Machine& machine, Warp& warp, const Instruction& i, Mask active, Space space,
                   std::size_t bytes, Access access, Addresses& addresses) {
  u64* at = addresses.device;
  u64 low_bits = 0;
  for (Mask left = active; left != 0; left &= left - 1) low_bits |= at[std::countr_zero(left)];
  if ((low_bits & (bytes - 1)) != 0) {
    int lane = std::countr_zero(active);
    while ((active >> lane & 1) == 0 || (at[lane] & (bytes - 1)) == 0) ++lane;
    machine.fail("misaligned", warp, i, lane,
                 hex(at[lane]) + " is no multiple of " + std::to_string(bytes) + " bytes");
  }
  Allocation*& hint = machine.hints[static_cast<std::size_t>(&i - machine.kernel.code.data())];
  const bool runs = space == Space::kGlobal && access != Access::kAtomic;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((active >> lane & 1) == 0) continue;
    int end = lane + 1;
    if (runs) {
      while (end < kLanes && (active >> end & 1) != 0 && at[end] == at[end - 1] + bytes) ++end;
    }
    const auto count = static_cast<std::size_t>(end - lane);
    Trouble trouble = Trouble::kNone;
    std::byte* host =
        touch_lane(machine, warp, space, at[lane], count * bytes, access, lane, hint, trouble);
    if (host == nullptr) {  // find the lane of the run that failed
      for (int one = lane; one < end; ++one) {
        if (touch_lane(machine, warp, space, at[one], bytes, access, one, hint, trouble) ==
            nullptr) {
          report(machine, warp, i, one, space, at[one], bytes, trouble);
        }
      }
      report(machine, warp, i, lane, space, at[lane], bytes, trouble);
    }
    if (count == kLanes) {
      addresses.contiguous = true;
      addresses.host[0] = host;
      return;
    }
    for (; lane < end; ++lane, host += bytes) addresses.host[lane] = host;
    // A lane that reads the same address as the lane before needs no second check.
    while (access == Access::kRead && end < kLanes && (active >> end & 1) != 0 &&
           at[end] == at[end - 1] && space != Space::kLocal && space != Space::kShared) {
      addresses.host[end] = addresses.host[end - 1];
      ++end;
    }
    lane = end - 1;
  }
  if (machine.traffic != nullptr && space == Space::kShared) {
    machine.traffic->count_shared(at, active, bytes);
  }
}

void count_work(WarpWork& work, Space space, std::size_t bytes, Access access) {
  const auto wide = static_cast<std::int64_t>(bytes);
  if (space != Space::kGlobal && space != Space::kShared) return;
  const bool is_global = space == Space::kGlobal;
  if (access != Access::kWrite) (is_global ? work.global_loaded : work.shared_loaded) += wide;
  if (access != Access::kRead) (is_global ? work.global_stored : work.shared_stored) += wide;
}

void resolve(Machine& machine, Warp& warp, const Instruction& i, Mask active, Access access,
             Addresses& addresses) {
  const std::size_t bytes = std::size_t{i.width} * i.count;
  if (i.narrow_address) {
    add_offsets<u32>(warp, i, addresses.device);
  } else {
    add_offsets<u64>(warp, i, addresses.device);
  }
  if (i.space != Space::kGeneric) {
    resolve_space(machine, warp, i, active, i.space, bytes, access, addresses);
    count_work(warp.work.back(), i.space, bytes, access);
    if (machine.traffic != nullptr && i.space == Space::kGlobal) {
      machine.traffic->count_global(addresses.device, active, bytes, access);
    }
    return;
  }
  while (active != 0) {
    const u64 tag = addresses.device[std::countr_zero(active)] >> kSpaceShift;
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((active >> lane & 1) == 0 || addresses.device[lane] >> kSpaceShift != tag) continue;
      same |= Mask{1} << lane;
    }
    Space space = Space::kGlobal;
    for (const Space other : {Space::kShared, Space::kLocal, Space::kParam}) {
      if (tag == static_cast<u64>(other)) space = other;
    }
    if (space != Space::kGlobal) {
      for (Mask left = same; left != 0; left &= left - 1) {
        addresses.device[std::countr_zero(left)] -= window(space);
      }
    }
    resolve_space(machine, warp, i, same, space, bytes, access, addresses);
    count_work(warp.work.back(), space, bytes, access);
    if (machine.traffic != nullptr && space == Space::kGlobal) {
      machine.traffic->count_global(addresses.device, same, bytes, access);
    }
    active &= ~same;
  }
}

}  // namespace cudasim
