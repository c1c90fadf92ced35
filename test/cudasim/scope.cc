#include "scope.h"

#include <charconv>

namespace cudasim {
namespace {

char type_letter(std::string_view type, u32 line) {
  if (type == ".pred") return 'p';
  switch (type_bytes(type)) {
    case 1:
      return 'b';
    case 2:
      return 'h';
    case 4:
      return 'w';
    case 8:
      return 'd';
    default:
      reject(line, "unknown type of register " + std::string(type));
  }
}

// The number at the end of a name, such as the 12 of %rs12.
std::optional<std::pair<std::string_view, int>> split_number(std::string_view name) {
  std::size_t digits = name.size();
  while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
  if (digits == name.size()) return std::nullopt;
  int number = 0;
  std::from_chars(name.data() + digits, name.data() + name.size(), number);
  return std::pair(name.substr(0, digits), number);
}

}  // namespace

int letter_bytes(char letter) {
  return letter == 'b' ? 1 : letter == 'h' ? 2 : letter == 'd' ? 8 : 4;
}

void Scopes::declare(const RegisterDeclaration& declaration) {
  const char letter = type_letter(declaration.type, declaration.line);
  Level& level = levels_.back();
  const bool added =
      declaration.count >= 0
          ? level.ranges.emplace(declaration.name, Range{letter, declaration.count}).second
          : level.registers.emplace(declaration.name, new_register(letter)).second;
  if (!added) reject(declaration.line, std::string(declaration.name) + " is declared twice");
}

void Scopes::declare(std::string_view name, NamedMemory memory, u32 line) {
  if (!levels_.back().memory.emplace(name, memory).second) {
    reject(line, std::string(name) + " is declared twice");
  }
}

const TypedRegister* Scopes::find_register(std::string_view name) {
  const auto numbered = split_number(name);
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    if (const auto found = level->registers.find(name); found != level->registers.end()) {
      return &found->second;
    }
    if (!numbered) continue;
    const auto range = level->ranges.find(numbered->first);
    if (range == level->ranges.end() || numbered->second >= range->second.count) continue;
    // A register of a range gets its memory on first use.
    return &level->registers.emplace(name, new_register(range->second.letter)).first->second;
  }
  return nullptr;
}

const NamedMemory* Scopes::find_memory(std::string_view name) const {
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    if (const auto found = level->memory.find(name); found != level->memory.end()) {
      return &found->second;
    }
  }
  return nullptr;
}

TypedRegister Scopes::new_register(char letter) {
  constexpr std::size_t kCacheLine = 64;
  std::size_t bytes = sizeof(Mask);
  if (letter != 'p') {
    bytes = static_cast<std::size_t>(letter_bytes(letter)) * kLanes;
    kernel_.register_bytes = (kernel_.register_bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  }
  TypedRegister result;
  result.letter = letter;
  result.reg.offset = static_cast<u32>(kernel_.register_bytes);
  result.reg.index = static_cast<u32>(kernel_.register_count++);
  kernel_.register_bytes += bytes;
  return result;
}

TypedRegister Scopes::constant(char letter, u64 bits) {
  if (letter != 'd') bits &= (u64{1} << (8 * letter_bytes(letter))) - 1;
  const auto [found, added] = constants_.try_emplace({letter, bits});
  if (added) {
    found->second = new_register(letter);
    const auto width = static_cast<u8>(letter == 'p' ? 0 : letter_bytes(letter));
    kernel_.constants.push_back({found->second.reg, width, bits});
  }
  return found->second;
}

std::optional<TypedRegister> Scopes::special(std::string_view name) {
  static const std::map<std::string_view, Special> kNames{
      {"%tid.x", Special::kTidX},
      {"%tid.y", Special::kTidY},
      {"%tid.z", Special::kTidZ},
      {"%ntid.x", Special::kNtidX},
      {"%ntid.y", Special::kNtidY},
      {"%ntid.z", Special::kNtidZ},
      {"%ctaid.x", Special::kCtaidX},
      {"%ctaid.y", Special::kCtaidY},
      {"%ctaid.z", Special::kCtaidZ},
      {"%nctaid.x", Special::kNctaidX},
      {"%nctaid.y", Special::kNctaidY},
      {"%nctaid.z", Special::kNctaidZ},
      {"%laneid", Special::kLaneid},
      {"%warpid", Special::kWarpid},
      {"%nwarpid", Special::kNwarpid},
      {"%smid", Special::kSmid},
      {"%nsmid", Special::kNsmid},
      {"%gridid", Special::kGridid},
      {"%lanemask_eq", Special::kLanemaskEq},
      {"%lanemask_le", Special::kLanemaskLe},
      {"%lanemask_lt", Special::kLanemaskLt},
      {"%lanemask_ge", Special::kLanemaskGe},
      {"%lanemask_gt", Special::kLanemaskGt},
      {"%dynamic_smem_size", Special::kDynamicSmemSize},
      {"%total_smem_size", Special::kTotalSmemSize},
  };
  const auto found = kNames.find(name);
  if (found == kNames.end()) return std::nullopt;
  const auto [entry, added] = specials_.try_emplace(found->second);
  if (added) {
    entry->second = new_register('w');
    kernel_.specials.push_back({entry->second.reg, found->second});
  }
  return entry->second;
}

}  // namespace cudasim
