#include "memory_operations.h"

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "lanewise.h"
#include "memory_access.h"

namespace cudasim {
namespace {

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

// T is the type in memory, R the type of the register.
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

// in[0] is the address; the elements follow.
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

// f(old, operand, third) returns the new value. The lanes execute one after another.
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
  return nullptr;  // no float atomics: their sums depend on the order
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
