#include "memory_operations.h"

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "async_copies.h"
#include "lanewise.h"
#include "local_memory.h"
#include "memory.h"
#include "shared_memory.h"
#include "traffic.h"

namespace cudasim {
namespace {

struct Addresses {
  u64 device[kLanes];       // in its space
  std::byte* host[kLanes];  // of active lanes, after resolve()
  bool contiguous = false;  // all lanes, ascending, each next to the one before
};

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

[[noreturn]] void report(const Machine& machine, const Warp& warp, const Instruction& i, int lane,
                         Space space, u64 address, std::size_t bytes, Trouble trouble) {
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

template <class T>
void add_offsets(Warp& warp, const Instruction& i, u64* out) {
  const T* base = warp.lanes<T>(i.in[0]);
  // Addresses of 32 bits (shared, local) wrap around there.
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
      // Read only, as just checked.
      return reinterpret_cast<std::byte*>(const_cast<unsigned char*>(parameters.data() + address));
    }
    case Space::kGeneric:
      break;
  }
  return nullptr;
}

// Lanes of one space. Global memory is checked in runs of consecutive addresses.
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
    if (host == nullptr) {  // one of the run: which?
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
    // Lanes that read what the lane before read need no second check.
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

template <class T>
T load_value(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store_value(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// T is the type in memory, R of the register.
template <class T, class R>
void load(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  Addresses addresses;
  resolve(machine, warp, i, active, Access::kRead, addresses);
  for (std::size_t k = 0; k < i.count; ++k) {
    R* out = warp.lanes<R>(i.out[k]);
    if (addresses.contiguous) {
      const std::byte* from = addresses.host[0] + k * sizeof(T);
      const std::size_t stride = i.count * sizeof(T);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        out[lane] = static_cast<R>(load_value<T>(from + lane * stride));
      }
    } else {
      for (Mask left = active; left != 0; left &= left - 1) {
        const int lane = std::countr_zero(left);
        out[lane] = static_cast<R>(load_value<T>(addresses.host[lane] + k * sizeof(T)));
      }
    }
  }
}

// in: address, then the elements.
template <class T, class R>
void store(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  Addresses addresses;
  resolve(machine, warp, i, active, Access::kWrite, addresses);
  for (std::size_t k = 0; k < i.count; ++k) {
    const R* in = warp.lanes<R>(i.in[k + 1]);
    if (addresses.contiguous) {
      std::byte* to = addresses.host[0] + k * sizeof(T);
      const std::size_t stride = i.count * sizeof(T);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        store_value(to + lane * stride, static_cast<T>(in[lane]));
      }
    } else {
      for (Mask left = active; left != 0; left &= left - 1) {
        const int lane = std::countr_zero(left);
        store_value(addresses.host[lane] + k * sizeof(T), static_cast<T>(in[lane]));
      }
    }
  }
}

void start_async_copy(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  Addresses from;
  std::copy_n(warp.lanes<u64>(i.in[1]), kLanes, from.device);
  resolve_space(machine, warp, i, active, Space::kGlobal, i.width, Access::kRead, from);
  u64 to[kLanes];
  std::copy_n(warp.lanes<u32>(i.in[0]), kLanes, to);
  count_work(warp.work.back(), Space::kGlobal, i.width, Access::kRead);
  count_work(warp.work.back(), Space::kShared, i.width, Access::kWrite);
  if (machine.traffic != nullptr) {
    machine.traffic->count_global(from.device, active, i.width, Access::kRead);
    machine.traffic->count_shared(to, active, i.width);
  }
  for (Mask left = active; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (to[lane] % i.width != 0) {
      machine.fail("misaligned", warp, i, lane,
                   hex(to[lane]) + " is no multiple of " + std::to_string(i.width) + " bytes");
    }
    AsyncCopies::Copy copy{to[lane], {}, i.width};
    const std::byte* host =
        from.contiguous ? from.host[0] + static_cast<std::size_t>(lane) * i.width : from.host[lane];
    std::memcpy(copy.bytes.data(), host, i.width);
    warp.copies[static_cast<std::size_t>(lane)].add(copy);
  }
}

void finish_async_copies(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  std::vector<AsyncCopies::Copy> copies;
  for (Mask left = active; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    AsyncCopies& own = warp.copies[static_cast<std::size_t>(lane)];
    while (own.take(static_cast<std::size_t>(i.immediate), &copies)) {
      for (const auto& [to, bytes, count] : copies) {
        Trouble trouble = Trouble::kNone;
        std::byte* const host =
            machine.shared.touch(to, count, Access::kWrite, warp.number, lane, trouble);
        if (host == nullptr) report(machine, warp, i, lane, Space::kShared, to, count, trouble);
        std::memcpy(host, bytes.data(), count);
      }
    }
  }
}

// f(old, operand, third) is the new value. One lane after the other.
template <class T, bool Returns, class F>
Handler atomic(F) {
  return [](Machine& machine, Warp& warp, const Instruction& i, Mask active) {
    Addresses addresses;
    resolve(machine, warp, i, active, Access::kAtomic, addresses);
    for (Mask left = active; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      const T old = load_value<T>(addresses.host[lane]);
      const T operand = warp.lanes<T>(i.in[1])[lane];
      const T third = i.inputs > 2 ? warp.lanes<T>(i.in[2])[lane] : T{};
      store_value(addresses.host[lane], static_cast<T>(F{}(old, operand, third)));
      if constexpr (Returns) warp.lanes<T>(i.out[0])[lane] = old;
    }
  };
}

template <class T, bool Returns>
Handler arithmetic_atomic(std::string_view operation) {
  using U = std::make_unsigned_t<T>;
  if (operation == "add") {
    return atomic<T, Returns>([](T old, T operand, T) {
      return static_cast<T>(static_cast<U>(old) + static_cast<U>(operand));
    });
  }
  if (operation == "min") {
    return atomic<T, Returns>([](T old, T operand, T) { return old < operand ? old : operand; });
  }
  if (operation == "max") {
    return atomic<T, Returns>([](T old, T operand, T) { return old > operand ? old : operand; });
  }
  if constexpr (std::is_same_v<T, u32>) {
    if (operation == "inc") {
      return atomic<T, Returns>([](T old, T most, T) { return old >= most ? 0 : old + 1; });
    }
    if (operation == "dec") {
      return atomic<T, Returns>(
          [](T old, T most, T) { return old == 0 || old > most ? most : old - 1; });
    }
  }
  return nullptr;
}

template <class T, bool Returns>
Handler bitwise_atomic(std::string_view operation) {
  if (operation == "and") {
    return atomic<T, Returns>([](T old, T operand, T) { return old & operand; });
  }
  if (operation == "or") {
    return atomic<T, Returns>([](T old, T operand, T) { return old | operand; });
  }
  if (operation == "xor") {
    return atomic<T, Returns>([](T old, T operand, T) { return old ^ operand; });
  }
  if constexpr (Returns) {
    if (operation == "exch") {
      return atomic<T, Returns>([](T, T operand, T) { return operand; });
    }
    if (operation == "cas") {
      return atomic<T, Returns>(
          [](T old, T expected, T value) { return old == expected ? value : old; });
    }
  }
  return nullptr;
}

template <bool Returns>
Handler find_atomic(std::string_view operation, std::string_view type) {
  if (type == "u32") return arithmetic_atomic<u32, Returns>(operation);
  if (type == "s32") return arithmetic_atomic<s32, Returns>(operation);
  if (type == "u64") return arithmetic_atomic<u64, Returns>(operation);
  if (type == "s64") return arithmetic_atomic<s64, Returns>(operation);
  if (type == "b32") return bitwise_atomic<u32, Returns>(operation);
  if (type == "b64") return bitwise_atomic<u64, Returns>(operation);
  return nullptr;  // sums of floats depend on the order: none
}

template <class R>
Handler load_into(int width, bool extends_sign) {
  if constexpr (sizeof(R) >= 1) {
    if (width == 1) return extends_sign ? load<s8, R> : load<u8, R>;
  }
  if constexpr (sizeof(R) >= 2) {
    if (width == 2) return extends_sign ? load<s16, R> : load<u16, R>;
  }
  if constexpr (sizeof(R) >= 4) {
    if (width == 4) return extends_sign ? load<s32, R> : load<u32, R>;
  }
  if constexpr (sizeof(R) >= 8) {
    if (width == 8) return load<u64, R>;
  }
  return nullptr;
}

template <class R>
Handler store_from(int width) {
  if (width == 1) return store<u8, R>;
  if constexpr (sizeof(R) >= 2) {
    if (width == 2) return store<u16, R>;
  }
  if constexpr (sizeof(R) >= 4) {
    if (width == 4) return store<u32, R>;
  }
  if constexpr (sizeof(R) >= 8) {
    if (width == 8) return store<u64, R>;
  }
  return nullptr;
}

}  // namespace

Handler async_copy_handler() { return start_async_copy; }
Handler async_commit_handler() {
  return [](Machine&, Warp& warp, const Instruction&, Mask active) {
    for (Mask left = active; left != 0; left &= left - 1) {
      warp.copies[static_cast<std::size_t>(std::countr_zero(left))].end_group();
    }
  };
}
Handler async_wait_handler() { return finish_async_copies; }

Handler load_handler(int width, int register_width, bool extends_sign) {
  if (register_width == 1) return load_into<u8>(width, extends_sign);
  if (register_width == 2) return load_into<u16>(width, extends_sign);
  if (register_width == 4) return load_into<u32>(width, extends_sign);
  return load_into<u64>(width, extends_sign);
}

Handler store_handler(int width, int register_width) {
  if (register_width == 1) return store_from<u8>(width);
  if (register_width == 2) return store_from<u16>(width);
  if (register_width == 4) return store_from<u32>(width);
  return store_from<u64>(width);
}

Handler atomic_handler(std::string_view operation, std::string_view type, bool returns) {
  return returns ? find_atomic<true>(operation, type) : find_atomic<false>(operation, type);
}

}  // namespace cudasim
