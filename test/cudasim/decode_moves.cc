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

// in[k] gives the bits of the result from bit k * 8 * sizeof(Element) on.
template <class Whole, class Element>
void pack_lanes(Machine&, Warp& warp, const Instruction& i, Mask active) {
  Whole whole[kLanes] = {};
  for (std::size_t k = 0; k < sizeof(Whole) / sizeof(Element); ++k) {
    const Element* element = warp.lanes<Element>(i.in[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      whole[lane] = static_cast<Whole>(whole[lane] | static_cast<Whole>(element[lane])
                                                         << (8 * k * sizeof(Element)));
    }
  }
  apply(
      active, warp.lanes<Whole>(i.out[0]), [](Whole value) { return value; }, whole);
}

template <class Whole, class Element>
void unpack_lanes(Machine&, Warp& warp, const Instruction& i, Mask active) {
  Whole whole[kLanes];  // a copy, since an output may be the input
  const Whole* in = warp.lanes<Whole>(i.in[0]);
  for (int lane = 0; lane < kLanes; ++lane) whole[lane] = in[lane];
  for (std::size_t k = 0; k < sizeof(Whole) / sizeof(Element); ++k) {
    Element* element = warp.lanes<Element>(i.out[k]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<Element>(whole[lane] >> (8 * k * sizeof(Element)));
      element[lane] = (active >> lane & 1) != 0 ? value : element[lane];
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

struct Packing {
  char whole;
  std::size_t count;
  char element;
  Handler pack_lanes, unpack_lanes;
};

constexpr Packing kPackings[] = {
    {'h', 2, 'b', pack_lanes<u16, u8>, unpack_lanes<u16, u8>},
    {'w', 4, 'b', pack_lanes<u32, u8>, unpack_lanes<u32, u8>},
    {'w', 2, 'h', pack_lanes<u32, u16>, unpack_lanes<u32, u16>},
    {'d', 4, 'h', pack_lanes<u64, u16>, unpack_lanes<u64, u16>},
    {'d', 2, 'w', pack_lanes<u64, u32>, unpack_lanes<u64, u32>},
};

const Packing* find_packing(char whole, std::size_t count) {
  for (const Packing& packing : kPackings) {
    if (packing.whole == whole && packing.count == count) return &packing;
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
                             const std::vector<std::string_view>& fields) {
  if (fields[0] == "cvta") {
    convert_address(statement, fields);
    return true;
  }
  if (fields[0] != "mov" || fields.size() != 2 || fields[1] == "pred") return false;
  move(statement, fields[1]);
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
  instruction.out[instruction.outputs++] = written_operand(statement, to, letter).reg;
  instruction.copies = true;
  if (from.name == "%clock" || from.name == "%clock64" || from.name == "%globaltimer") {
    const bool narrow = from.name == "%clock";
    if (narrow != (letter == 'w')) bad(statement, "a clock of another width");
    instruction.handler = find_operation(narrow ? "mov.clock.32" : "mov.clock.64")->handler;
    return emit(instruction, statement);
  }
  const NamedMemory* memory =
      from.kind == OperandSyntax::Kind::kName ? scopes_.find_memory(from.name) : nullptr;
  TypedRegister in{};
  if (memory != nullptr) {
    if (letter == 'h') bad(statement, "too narrow for an address");
    const u64 address = memory->offset + static_cast<u64>(from.offset);
    in = scopes_.constant(letter, address);
  } else {
    in = read_operand(statement, from, letter);
  }
  instruction.in[instruction.inputs++] = in.reg;
  instruction.handler = letter == 'h' ? copy<u16> : letter == 'w' ? copy<u32> : copy<u64>;
  emit(instruction, statement);
}

void Decoder::pack(const Statement& statement, char letter) {
  const OperandSyntax& from = statement.operands[1];
  const Packing* packing = find_packing(letter, from.elements.size());
  if (packing == nullptr) bad(statement, "no vector of that width");
  Instruction instruction = start(statement);
  instruction.handler = packing->pack_lanes;
  instruction.copies = true;
  for (const OperandSyntax& element : from.elements) {
    instruction.in[instruction.inputs++] = read_operand(statement, element, packing->element).reg;
  }
  instruction.out[instruction.outputs++] =
      written_operand(statement, statement.operands[0], letter).reg;
  emit(instruction, statement);
}

void Decoder::unpack(const Statement& statement, char letter) {
  const OperandSyntax& to = statement.operands[0];
  const Packing* packing = find_packing(letter, to.elements.size());
  if (packing == nullptr) bad(statement, "no vector of that width");
  Instruction instruction = start(statement);
  instruction.handler = packing->unpack_lanes;
  instruction.copies = true;
  instruction.in[instruction.inputs++] = read_operand(statement, statement.operands[1], letter).reg;
  for (const OperandSyntax& element : to.elements) {
    instruction.out[instruction.outputs++] =
        written_operand(statement, element, packing->element).reg;
  }
  emit(instruction, statement);
}

// cvta.to.shared.u64 converts a generic address to one in shared memory; without .to, the reverse.
void Decoder::convert_address(const Statement& statement,
                              const std::vector<std::string_view>& fields) {
  const std::size_t named = fields.size() == 4 && fields[1] == "to" ? 2 : 1;
  if (fields.size() != named + 2 || fields.back() != "u64") bad(statement, "unknown modifiers");
  expect_operands(statement, 2, 2);
  Space space = Space::kGlobal;
  if (fields[named] == "shared" || fields[named] == "shared::cta") {
    space = Space::kShared;
  } else if (fields[named] == "local") {
    space = Space::kLocal;
  } else if (fields[named] == "param" || fields[named] == "param::entry") {
    space = Space::kParam;
  } else if (fields[named] != "global") {
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
      memory != nullptr ? scopes_.constant('d', memory->offset + static_cast<u64>(from.offset)).reg
                        : read_operand(statement, from, 'd').reg;
  instruction.out[instruction.outputs++] =
      written_operand(statement, statement.operands[0], 'd').reg;
  emit(instruction, statement);
}

}  // namespace cudasim
