// setp, set and testp.
#include <cmath>
#include <utility>

#include "lanewise.h"

namespace cudasim {
namespace {

template <class T>
auto comparable(T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return value;
  } else {
    return to_float(value);
  }
}

struct Equal {
  static constexpr const char* kName = "eq";
  bool operator()(auto a, auto b) const { return a == b; }
};
struct NotEqual {  // ordered: false if an operand is NaN
  static constexpr const char* kName = "ne";
  bool operator()(auto a, auto b) const { return a < b || a > b; }
};
struct Less {
  static constexpr const char* kName = "lt";
  bool operator()(auto a, auto b) const { return a < b; }
};
struct LessEqual {
  static constexpr const char* kName = "le";
  bool operator()(auto a, auto b) const { return a <= b; }
};
struct Greater {
  static constexpr const char* kName = "gt";
  bool operator()(auto a, auto b) const { return a > b; }
};
struct GreaterEqual {
  static constexpr const char* kName = "ge";
  bool operator()(auto a, auto b) const { return a >= b; }
};
struct Number {
  static constexpr const char* kName = "num";
  bool operator()(auto a, auto b) const { return a == a && b == b; }
};
struct NotNumber {
  static constexpr const char* kName = "nan";
  bool operator()(auto a, auto b) const { return a != a || b != b; }
};
// The unordered version of a comparison: true if an operand is NaN.
template <class C>
struct OrUnordered {
  bool operator()(auto a, auto b) const { return a != a || b != b || C{}(a, b); }
};

// How the result of a comparison is combined with a predicate. Stored in Instruction::immediate.
enum class Combination : s64 { kNone, kAnd, kOr, kXor };
constexpr std::pair<const char*, Combination> kCombinations[] = {
    {".and", Combination::kAnd}, {".or", Combination::kOr}, {".xor", Combination::kXor}};

Mask combine(Mask result, Warp& warp, const Instruction& i) {
  switch (static_cast<Combination>(i.immediate)) {
    case Combination::kNone:
      break;
    case Combination::kAnd:
      return result & warp.mask(i.in[2]);
    case Combination::kOr:
      return result | warp.mask(i.in[2]);
    case Combination::kXor:
      return result ^ warp.mask(i.in[2]);
  }
  return result;
}

float flushed_if_float(float value) { return flushed(value); }
template <class T>
T flushed_if_float(T value) {
  return value;
}

template <class T, class C, bool Flush>
Mask compare(Warp& warp, const Instruction& i) {
  return collect(
      [](T a, T b) {
        if constexpr (Flush) return C{}(flushed_if_float(a), flushed_if_float(b));
        return C{}(comparable(a), comparable(b));
      },
      warp.lanes<const T>(i.in[0]), warp.lanes<const T>(i.in[1]));
}

template <class T, class C, bool Flush>
void add_comparison(OperationTable& table, const std::string& name, const std::string& type) {
  const std::string suffix = (Flush ? ".ftz." : ".") + type;
  const char letter = shape_letter<T>();
  const Handler handler = [](Machine&, Warp& warp, const Instruction& i, Mask active) {
    assign_mask(warp.mask(i.out[0]), combine(compare<T, C, Flush>(warp, i), warp, i), active);
  };
  table.add("setp." + name + suffix, {handler, {'p', '=', letter, letter}});
  for (const auto& [combined, combination] : kCombinations) {
    Operation operation{handler, {'p', '=', letter, letter, 'p'}};
    operation.immediate = static_cast<s64>(combination);
    table.add("setp." + name + combined + suffix, operation);
  }
  if constexpr (sizeof(T) >= 4) {
    table.add("set." + name + (Flush ? ".ftz" : "") + ".u32." + type,
              lanewise<u32, T, T>([](T a, T b) {
                if constexpr (Flush) {
                  return C{}(flushed_if_float(a), flushed_if_float(b)) ? ~u32{0} : u32{0};
                } else {
                  return C{}(comparable(a), comparable(b)) ? ~u32{0} : u32{0};
                }
              }));
  }
}

template <class T>
void add_integer(OperationTable& table, const std::string& type) {
  for_types<Equal, NotEqual>(
      [&]<class C>() { add_comparison<T, C, false>(table, C::kName, type); });
  if (type[0] == 'b') return;
  for_types<Less, LessEqual, Greater, GreaterEqual>(
      [&]<class C>() { add_comparison<T, C, false>(table, C::kName, type); });
  // lo: lower, ls: lower or same, hi: higher, hs: higher or same.
  if constexpr (std::is_unsigned_v<T>) {
    add_comparison<T, Less, false>(table, "lo", type);
    add_comparison<T, LessEqual, false>(table, "ls", type);
    add_comparison<T, Greater, false>(table, "hi", type);
    add_comparison<T, GreaterEqual, false>(table, "hs", type);
  }
}

template <class T, bool Flush>
void add_float(OperationTable& table) {
  const std::string type = kTypeName<T>;
  for_types<Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual>([&]<class C>() {
    add_comparison<T, C, Flush>(table, C::kName, type);
    add_comparison<T, OrUnordered<C>, Flush>(table, std::string(C::kName) + "u", type);
  });
  add_comparison<T, Number, Flush>(table, "num", type);
  add_comparison<T, NotNumber, Flush>(table, "nan", type);
}

template <class T>
void add_tests(OperationTable& table) {
  const auto add = [&](const std::string& name, auto test) {
    table.add("testp." + name + "." + kTypeName<T>,
              {[](Machine&, Warp& warp, const Instruction& i, Mask active) {
                 assign_mask(warp.mask(i.out[0]),
                             collect(decltype(test){}, warp.lanes<const T>(i.in[0])), active);
               },
               {'p', '=', shape_letter<T>()}});
  };
  add("finite", [](T a) { return std::isfinite(a); });
  add("infinite", [](T a) { return std::isinf(a); });
  add("number", [](T a) { return !std::isnan(a); });
  add("notanumber", [](T a) { return std::isnan(a); });
  add("normal", [](T a) { return std::isnormal(a); });
  add("subnormal", [](T a) { return std::fpclassify(a) == FP_SUBNORMAL; });
}

}  // namespace

void add_compare_operations(OperationTable& table) {
  for_types<u16, s16, u32, s32, u64, s64>([&]<class T>() { add_integer<T>(table, kTypeName<T>); });
  add_integer<u16>(table, "b16");
  add_integer<u32>(table, "b32");
  add_integer<u64>(table, "b64");
  for_types<float, double, Half, BFloat>([&]<class T>() { add_float<T, false>(table); });
  add_float<float, true>(table);
  for_types<float, double>([&]<class T>() { add_tests<T>(table); });
}

}  // namespace cudasim
