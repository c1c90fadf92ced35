// Logic, shifts, bit fields, and moves between registers.
#include <bit>

#include "lanewise.h"

namespace cudasim {
namespace {

template <class T>
T shift_left(T a, u32 by) {
  return by < 8 * sizeof(T) ? static_cast<T>(u64{a} << by) : T{0};
}
// A shift by the width or more gives zeros, or copies of the sign.
template <class T>
T shift_right(T a, u32 by) {
  constexpr u32 kMost = 8 * sizeof(T) - 1;
  if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (by < kMost ? by : kMost));
  return by <= kMost ? static_cast<T>(a >> by) : T{0};
}

template <class T>
T reverse_bits(T value) {
  T result = 0;
  for (std::size_t bit = 0; bit < 8 * sizeof(T); ++bit) {
    result = static_cast<T>(result << 1 | (value >> bit & 1));
  }
  return result;
}

template <class T>
T extract_field(T a, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  constexpr u32 kBits = 8 * sizeof(T);
  using U = std::make_unsigned_t<T>;
  const u32 top = position + length - 1 < kBits - 1 ? position + length - 1 : kBits - 1;
  const bool sign = std::is_signed_v<T> && length != 0 && (static_cast<U>(a) >> top & 1) != 0;
  U result = 0;
  for (u32 bit = 0; bit < kBits; ++bit) {
    const bool inside = bit < length && position + bit < kBits;
    const bool one = inside ? (static_cast<U>(a) >> (position + bit) & 1) != 0 : sign;
    result |= static_cast<U>(one) << bit;
  }
  return static_cast<T>(result);
}

template <class T>
T insert_field(T a, T b, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  constexpr u32 kBits = 8 * sizeof(T);
  for (u32 bit = 0; bit < length && position + bit < kBits; ++bit) {
    const T one = T{1} << (position + bit);
    b = (a >> bit & 1) != 0 ? b | one : b & ~one;
  }
  return b;
}

// The position of the most significant bit that differs from the sign; all ones if none does.
template <class T>
u32 find_top(T value) {
  using U = std::make_unsigned_t<T>;
  const U bits = value < T{0} ? static_cast<U>(~value) : static_cast<U>(value);
  return bits == 0 ? ~u32{0} : static_cast<u32>(8 * sizeof(T) - 1 - std::countl_zero(bits));
}

u32 permute(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64{b} << 32 | a;
  u32 result = 0;
  for (int k = 0; k < 4; ++k) {
    const u32 nibble = selector >> (4 * k) & 15;
    u32 byte = static_cast<u32>(bytes >> (8 * (nibble & 7))) & 255;
    if ((nibble & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
    result |= byte << (8 * k);
  }
  return result;
}

// lop3: each bit of the result is bit number (a << 2 | b << 1 | c) of the table.
u32 lookup(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (u32 entry = 0; entry < 8; ++entry) {
    const u32 chosen =
        ((entry & 4) != 0 ? a : ~a) & ((entry & 2) != 0 ? b : ~b) & ((entry & 1) != 0 ? c : ~c);
    result |= (table >> entry & 1) != 0 ? chosen : 0;
  }
  return result;
}

template <class T>
void add_logic(OperationTable& table, const std::string& type) {
  table.add("and." + type, lanewise<T, T, T>([](T a, T b) { return static_cast<T>(a & b); }));
  table.add("or." + type, lanewise<T, T, T>([](T a, T b) { return static_cast<T>(a | b); }));
  table.add("xor." + type, lanewise<T, T, T>([](T a, T b) { return static_cast<T>(a ^ b); }));
  table.add("not." + type, lanewise<T, T>([](T a) { return static_cast<T>(~a); }));
  table.add("cnot." + type, lanewise<T, T>([](T a) { return static_cast<T>(a == 0); }));
  table.add("shl." + type, lanewise<T, T, u32>([](T a, u32 by) { return shift_left(a, by); }));
  table.add("shr." + type, lanewise<T, T, u32>([](T a, u32 by) { return shift_right(a, by); }));
}

template <class T>
void add_counts(OperationTable& table, const std::string& type) {
  table.add("popc." + type,
            lanewise<u32, T>([](T a) { return static_cast<u32>(std::popcount(a)); }));
  table.add("clz." + type,
            lanewise<u32, T>([](T a) { return static_cast<u32>(std::countl_zero(a)); }));
  table.add("brev." + type, lanewise<T, T>([](T a) { return reverse_bits(a); }));
  table.add("bfi." + type, lanewise<T, T, T, u32, u32>([](T a, T b, u32 position, u32 length) {
              return insert_field(a, b, position, length);
            }));
}

template <class T>
void add_fields(OperationTable& table) {
  const std::string type = kTypeName<T>;
  table.add("bfe." + type, lanewise<T, T, u32, u32>([](T a, u32 position, u32 length) {
              return extract_field(a, position, length);
            }));
  table.add("bfind." + type, lanewise<u32, T>([](T a) { return find_top(a); }));
  table.add("bfind.shiftamt." + type, lanewise<u32, T>([](T a) {
              const u32 top = find_top(a);
              return top == ~u32{0} ? top : static_cast<u32>(8 * sizeof(T)) - 1 - top;
            }));
}

// Funnel shifts of the 64 bits b:a. The result is the upper half (l) or the lower half (r).
void add_funnels(OperationTable& table) {
  table.add("shf.l.wrap.b32", lanewise<u32, u32, u32, u32>([](u32 a, u32 b, u32 by) {
              return static_cast<u32>((u64{b} << 32 | a) << (by & 31) >> 32);
            }));
  table.add("shf.r.wrap.b32", lanewise<u32, u32, u32, u32>([](u32 a, u32 b, u32 by) {
              return static_cast<u32>((u64{b} << 32 | a) >> (by & 31));
            }));
  table.add("shf.l.clamp.b32", lanewise<u32, u32, u32, u32>([](u32 a, u32 b, u32 by) {
              return by < 32 ? static_cast<u32>((u64{b} << 32 | a) << by >> 32) : a;
            }));
  table.add("shf.r.clamp.b32", lanewise<u32, u32, u32, u32>([](u32 a, u32 b, u32 by) {
              return by < 32 ? static_cast<u32>((u64{b} << 32 | a) >> by) : b;
            }));
}

template <class T>
void add_select(OperationTable& table, const std::string& type) {
  const Handler select = [](Machine&, Warp& warp, const Instruction& i, Mask active) {
    const Mask chosen = warp.mask(i.in[2]);
    T* out = warp.lanes<T>(i.out[0]);
    const T* a = warp.lanes<T>(i.in[0]);
    const T* b = warp.lanes<T>(i.in[1]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const T value = (chosen >> lane & 1) != 0 ? a[lane] : b[lane];
      out[lane] = (active >> lane & 1) != 0 ? value : out[lane];
    }
  };
  const char letter = shape_letter<T>();
  table.add("selp." + type, {select, {letter, '=', letter, letter, 'p'}});
}

template <class F>
Operation maskwise(F, const char* shape) {
  const Handler handler = [](Machine&, Warp& warp, const Instruction& i, Mask active) {
    const Mask b = i.inputs > 1 ? warp.mask(i.in[1]) : 0;
    assign_mask(warp.mask(i.out[0]), F{}(warp.mask(i.in[0]), b), active);
  };
  return {handler, shape};
}

}  // namespace

void add_bit_operations(OperationTable& table) {
  add_logic<u16>(table, "b16");
  add_logic<u32>(table, "b32");
  add_logic<u64>(table, "b64");
  for_types<u16, s16, u32, s32, u64, s64>([&]<class T>() {
    table.add(std::string("shr.") + kTypeName<T>,
              lanewise<T, T, u32>([](T a, u32 by) { return shift_right(a, by); }));
  });
  add_counts<u32>(table, "b32");
  add_counts<u64>(table, "b64");
  for_types<u32, s32, u64, s64>([&]<class T>() { add_fields<T>(table); });
  add_funnels(table);
  table.add("prmt.b32", lanewise<u32, u32, u32, u32>(
                            [](u32 a, u32 b, u32 selector) { return permute(a, b, selector); }));

  for (const char* type : {"b16", "u16", "s16"}) add_select<u16>(table, type);
  for (const char* type : {"b32", "u32", "s32", "f32"}) add_select<u32>(table, type);
  for (const char* type : {"b64", "u64", "s64", "f64"}) add_select<u64>(table, type);

  const Handler lookup_lanes = [](Machine&, Warp& warp, const Instruction& i, Mask active) {
    const auto bits = static_cast<u32>(i.immediate);
    apply(
        active, warp.lanes<u32>(i.out[0]),
        [bits](u32 a, u32 b, u32 c) { return lookup(a, b, c, bits); }, warp.lanes<u32>(i.in[0]),
        warp.lanes<u32>(i.in[1]), warp.lanes<u32>(i.in[2]));
  };
  Operation logic{lookup_lanes, "w=www"};
  logic.immediate_operand = 3;
  table.add("lop3.b32", logic);

  table.add("and.pred", maskwise([](Mask a, Mask b) { return a & b; }, "p=pp"));
  table.add("or.pred", maskwise([](Mask a, Mask b) { return a | b; }, "p=pp"));
  table.add("xor.pred", maskwise([](Mask a, Mask b) { return a ^ b; }, "p=pp"));
  table.add("not.pred", maskwise([](Mask a, Mask) { return ~a; }, "p=p"));
  table.add("mov.pred", maskwise([](Mask a, Mask) { return a; }, "p=p"));
}

}  // namespace cudasim
