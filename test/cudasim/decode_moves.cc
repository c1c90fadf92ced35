// Decodes mov, with its vectors, addresses of variables and clocks, and cvta.
#include "decoder.h"
#include "lanewise.h"

namespace cudasim {
namespace {

template <class T>
void copy(Machine&, Warp& warp, const Instruction& i, Mask active) {
  apply(
      active, warp.lanes<T>(i.out[0]), [](T value) { return value; }, warp.lanes<T>(i.in[0]));
}

// in[k] gives the bits of the result from bit k * 8 * sizeof(Part) on.
template <class Whole, class Part>
void join(Machine&, Warp& warp, const Instruction& i, Mask active) {
  Whole whole[kLanes] = {};
  for (std::size_t k = 0; k < sizeof(Whole) / sizeof(Part); ++k) {
    const Part* part = warp.lanes<Part>(i.in[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      whole[lane] = static_cast<Whole>(whole[lane] | static_cast<Whole>(part[lane])
                                                         << (8 * k * sizeof(Part)));
    }
  }
  apply(
      active, warp.lanes<Whole>(i.out[0]), [](Whole value) { return value; }, whole);
}

template <class Whole, class Part>
void split(Machine&, Warp& warp, const Instruction& i, Mask active) {
  Whole whole[kLanes];  // a copy, since an output may be the input
  const Whole* in = warp.lanes<Whole>(i.in[0]);
  for (int lane = 0; lane < kLanes; ++lane) whole[lane] = in[lane];
  for (std::size_t k = 0; k < sizeof(Whole) / sizeof(Part); ++k) {
    Part* part = warp.lanes<Part>(i.out[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<Part>(whole[lane] >> (8 * k * sizeof(Part)));
      part[lane] = (active >> lane & 1) != 0 ? value : part[lane];
    }
  }
}

template <class T>
void shift_window(Machine&, Warp& warp, const Instruction& i, Mask active) {
  const T by = static_cast<T>(i.immediate);
  apply(
      active, warp.lanes<T>(i.out[0]), [by](T value) { return static_cast<T>(value + by); },
      warp.lanes<T>(i.in[0]));
}

struct Parting {
  char whole;
  std::size_t parts;
  char part;
  Handler join, split;
};

constexpr Parting kPartings[] = {
    {'h', 2, 'b', join<u16, u8>, split<u16, u8>},   {'w', 4, 'b', join<u32, u8>, split<u32, u8>},
    {'w', 2, 'h', join<u32, u16>, split<u32, u16>}, {'d', 4, 'h', join<u64, u16>, split<u64, u16>},
    {'d', 2, 'w', join<u64, u32>, split<u64, u32>},
};

const Parting* find_parting(char whole, std::size_t parts) {
  for (const Parting& parting : kPartings) {
    if (parting.whole == whole && parting.parts == parts) return &parting;
  }
  return nullptr;
}

char mov_letter(std::string_view type) {
  static constexpr std::pair<std::string_view, char> kTypes[] = {
      {"b16", 'h'}, {"u16", 'h'}, {"s16", 'h'},  {"b32", 'w'}, {"u32", 'w'},
      {"s32", 'w'}, {"f32", 'w'}, {"b64", 'd'},  {"u64", 'd'}, {"s64", 'd'},
      {"f64", 'd'}, {"f16", 'h'}, {"bf16", 'h'},
  };
  for (const auto& [name, letter] : kTypes) {
    if (name == type) return letter;
  }
  return '\0';
}

}  // namespace

bool Decoder::move_statement(const Statement& statement,
                             const std::vector<std::string_view>& parts) {
  if (parts[0] == "cvta") {
    convert_address(statement, parts);
    return true;
  }
  if (parts[0] != "mov" || parts.size() != 2 || parts[1] == "pred") return false;
  move(statement, parts[1]);
  return true;
}

void Decoder::move(const Statement& statement, std::string_view type) {
  const char letter = mov_letter(type);
  if (letter == '\0') bad(statement, "unknown type");
  expect_operands(statement, 2, 2);
  const OperandSyntax& to = statement.operands[0];
  const OperandSyntax& from = statement.operands[1];
  if (from.kind == OperandSyntax::Kind::kVector) return pack(statement, letter);
  if (to.kind == OperandSyntax::Kind::kVector) return unpack(statement, letter);

  Instruction instruction = start(statement);
  instruction.out[instruction.outputs++] = written_operand(statement, to, letter).place;
  instruction.copies = true;
  if (from.name == "%clock" || from.name == "%clock64" || from.name == "%globaltimer") {
    const bool narrow = from.name == "%clock";
    if (narrow != (letter == 'w')) bad(statement, "a clock of another width");
    instruction.handler = find_operation(narrow ? "mov.clock.32" : "mov.clock.64")->handler;
    return emit(instruction, statement);
  }
  const NamedMemory* memory =
      from.kind == OperandSyntax::Kind::kName ? scopes_.find_memory(from.name) : nullptr;
  NamedRegister in{};
  if (memory != nullptr) {
    if (letter == 'h') bad(statement, "too narrow for an address");
    const u64 address = memory->offset + static_cast<u64>(from.offset);
    in = scopes_.constant(letter, address);
  } else {
    in = read_operand(statement, from, letter);
  }
  instruction.in[instruction.inputs++] = in.place;
  instruction.handler = letter == 'h' ? copy<u16> : letter == 'w' ? copy<u32> : copy<u64>;
  emit(instruction, statement);
}

void Decoder::pack(const Statement& statement, char letter) {
  const OperandSyntax& from = statement.operands[1];
  const Parting* parting = find_parting(letter, from.elements.size());
  if (parting == nullptr) bad(statement, "no vector of that width");
  Instruction instruction = start(statement);
  instruction.handler = parting->join;
  instruction.copies = true;
  for (const OperandSyntax& element : from.elements) {
    instruction.in[instruction.inputs++] = read_operand(statement, element, parting->part).place;
  }
  instruction.out[instruction.outputs++] =
      written_operand(statement, statement.operands[0], letter).place;
  emit(instruction, statement);
}

void Decoder::unpack(const Statement& statement, char letter) {
  const OperandSyntax& to = statement.operands[0];
  const Parting* parting = find_parting(letter, to.elements.size());
  if (parting == nullptr) bad(statement, "no vector of that width");
  Instruction instruction = start(statement);
  instruction.handler = parting->split;
  instruction.copies = true;
  instruction.in[instruction.inputs++] =
      read_operand(statement, statement.operands[1], letter).place;
  for (const OperandSyntax& element : to.elements) {
    instruction.out[instruction.outputs++] =
        written_operand(statement, element, parting->part).place;
  }
  emit(instruction, statement);
}

// cvta.to.shared.u64 converts a generic address to one in shared memory; without .to, the reverse.
void Decoder::convert_address(const Statement& statement,
                              const std::vector<std::string_view>& parts) {
  const std::size_t named = parts.size() == 4 && parts[1] == "to" ? 2 : 1;
  if (parts.size() != named + 2 || parts.back() != "u64") bad(statement, "unknown modifiers");
  expect_operands(statement, 2, 2);
  Space space = Space::kGlobal;
  if (parts[named] == "shared" || parts[named] == "shared::cta") {
    space = Space::kShared;
  } else if (parts[named] == "local") {
    space = Space::kLocal;
  } else if (parts[named] == "param" || parts[named] == "param::entry") {
    space = Space::kParam;
  } else if (parts[named] != "global") {
    bad(statement, "unknown space");
  }
  Instruction instruction = start(statement);
  instruction.handler = shift_window<u64>;
  instruction.copies = true;
  const auto base = static_cast<s64>(window(space));
  instruction.immediate = named == 2 ? -base : base;
  const OperandSyntax& from = statement.operands[1];
  const NamedMemory* memory =
      from.kind == OperandSyntax::Kind::kName ? scopes_.find_memory(from.name) : nullptr;
  if (memory != nullptr && memory->space != space) bad(statement, "is in another space");
  instruction.in[instruction.inputs++] =
      memory != nullptr
          ? scopes_.constant('d', memory->offset + static_cast<u64>(from.offset)).place
          : read_operand(statement, from, 'd').place;
  instruction.out[instruction.outputs++] =
      written_operand(statement, statement.operands[0], 'd').place;
  emit(instruction, statement);
}

}  // namespace cudasim
