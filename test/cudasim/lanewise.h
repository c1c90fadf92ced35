// Makes rows of the table of operations from functions of one lane.
#pragma once

#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "operations.h"

namespace cudasim {

class OperationTable {
 public:
  void add(const std::string& mnemonic, Operation operation) {
    rows_.insert_or_assign(mnemonic, std::move(operation));
  }
  const Operation* find(const std::string& mnemonic) const {
    const auto row = rows_.find(mnemonic);
    return row == rows_.end() ? nullptr : &row->second;
  }

 private:
  std::unordered_map<std::string, Operation> rows_;
};

// The name of a type in mnemonics, such as "f32".
template <class T>
inline constexpr const char* kTypeName = nullptr;
template <>
inline constexpr const char* kTypeName<u8> = "u8";
template <>
inline constexpr const char* kTypeName<u16> = "u16";
template <>
inline constexpr const char* kTypeName<u32> = "u32";
template <>
inline constexpr const char* kTypeName<u64> = "u64";
template <>
inline constexpr const char* kTypeName<s8> = "s8";
template <>
inline constexpr const char* kTypeName<s16> = "s16";
template <>
inline constexpr const char* kTypeName<s32> = "s32";
template <>
inline constexpr const char* kTypeName<s64> = "s64";
template <>
inline constexpr const char* kTypeName<float> = "f32";
template <>
inline constexpr const char* kTypeName<double> = "f64";
template <>
inline constexpr const char* kTypeName<Half> = "f16";
template <>
inline constexpr const char* kTypeName<BFloat> = "bf16";
template <>
inline constexpr const char* kTypeName<Pair<Half>> = "f16x2";
template <>
inline constexpr const char* kTypeName<Pair<BFloat>> = "bf16x2";

// Calls visit.operator()<T>() for each type.
template <class... Types, class Visit>
void for_types(const Visit& visit) {
  (visit.template operator()<Types>(), ...);
}

template <class T>
constexpr char shape_letter() {
  return sizeof(T) == 1 ? 'b' : sizeof(T) == 2 ? 'h' : sizeof(T) == 4 ? 'w' : 'd';
}

template <class D, class... S>
std::string shape_of() {
  return {shape_letter<D>(), '=', shape_letter<S>()...};
}

// Computes f for every lane and discards the results of lanes outside the mask. This is cheaper
// than branches, and f has no side effects. A lane reads and writes only its own values, so the
// order of lanes does not matter (ivdep), even if input and output are one register.
template <class D, class F, class... S>
inline void apply(Mask active, D* out, F f, const S*... in) {
  if (active == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) out[lane] = f(in[lane]...);
    return;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const D value = f(in[lane]...);
    out[lane] = (active >> lane & 1) != 0 ? value : out[lane];
  }
}

template <class D, class... S, class F>
Operation lanewise(F) {
  static_assert(std::is_empty_v<F>, "a function without captures");
  const Handler handler = [](Machine&, Warp& warp, const Instruction& i, Mask active) {
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      apply(active, warp.lanes<D>(i.out[0]), F{}, warp.lanes<const S>(i.in[K])...);
    }
    (std::index_sequence_for<S...>{});
  };
  return {handler, shape_of<D, S...>()};
}

// Like lanewise, for f(seed, values): results may depend on the seed of the launch.
template <class D, class... S, class F>
Operation seeded(F) {
  static_assert(std::is_empty_v<F>, "a function without captures");
  const Handler handler = [](Machine& machine, Warp& warp, const Instruction& i, Mask active) {
    const u64 seed = machine.options.seed;
    D* out = warp.lanes<D>(i.out[0]);
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      for (int lane = 0; lane < kLanes; ++lane) {
        if ((active >> lane & 1) != 0) out[lane] = F{}(seed, warp.lanes<const S>(i.in[K])[lane]...);
      }
    }
    (std::index_sequence_for<S...>{});
  };
  return {handler, shape_of<D, S...>()};
}

inline void assign_mask(Mask& out, Mask value, Mask active) {
  out = (out & ~active) | (value & active);
}

// The mask of lanes for which f(values) is true.
template <class F, class... S>
inline Mask collect(F f, const S*... in) {
  Mask result = 0;
  for (int lane = 0; lane < kLanes; ++lane) result |= static_cast<Mask>(f(in[lane]...)) << lane;
  return result;
}

}  // namespace cudasim
