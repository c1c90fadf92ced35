// Decodes ld, st, atom, red, prefetch and cp.async with their modifiers. Most modifiers are hints
// for caches and have no effect here.
#include <algorithm>
#include <array>
#include <bit>

#include "async_copies.h"
#include "decoder.h"
#include "memory_operations.h"

namespace cudasim {
namespace {

using Names = std::vector<std::string_view>;

// The modifiers of a mnemonic, left to right, each used once.
class Modifiers {
 public:
  explicit Modifiers(const Names& fields) : fields_(fields) {}

  // The next one if it is among `names`, else empty.
  std::string_view take(const Names& names) {
    if (position_ == fields_.size()) return {};
    const std::string_view next = fields_[position_];
    if (std::find(names.begin(), names.end(), next) == names.end()) return {};
    ++position_;
    return next;
  }
  bool take(std::string_view name) { return !take(Names{name}).empty(); }
  std::string_view take_last() {
    return position_ + 1 == fields_.size() ? fields_[position_++] : std::string_view{};
  }
  bool done() const { return position_ == fields_.size(); }

 private:
  const Names& fields_;
  std::size_t position_ = 1;
};

const Names& scopes() {
  static const Names kNames{"cta", "cluster", "gpu", "sys"};
  return kNames;
}

Space space_of(std::string_view name) {
  if (name == "global") return Space::kGlobal;
  if (name == "shared" || name == "shared::cta") return Space::kShared;
  if (name == "local") return Space::kLocal;
  if (name == "param" || name == "param::entry") return Space::kParam;
  return Space::kGeneric;
}

void take_cache_advice(Modifiers& modifiers) {
  static const Names kFirst{"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                            "L1::evict_last", "L1::no_allocate"};
  static const Names kSecond{"L2::evict_normal", "L2::evict_first", "L2::evict_last"};
  static const Names kPrefetch{"L2::64B", "L2::128B", "L2::256B"};
  modifiers.take(kFirst);
  modifiers.take(kSecond);
  modifiers.take(kPrefetch);
}

}  // namespace

bool Decoder::memory_statement(const Statement& statement,
                               const std::vector<std::string_view>& fields) {
  if (fields[0] == "ld" || fields[0] == "st") {
    load_or_store(statement, fields);
  } else if (fields[0] == "atom" || fields[0] == "red") {
    atomic(statement, fields);
  } else if (fields[0] == "prefetch") {
    prefetch(statement, fields);
  } else if (fields[0] == "cp" && fields.size() > 1 && fields[1] == "async") {
    async_copy(statement, fields);
  } else {
    return false;
  }
  return true;
}

// Races are checked in granules of the size of the narrowest access.
void Decoder::note_access(const Instruction& instruction) {
  const int shift = std::countr_zero(static_cast<unsigned>(instruction.width * instruction.count));
  const bool generic = instruction.space == Space::kGeneric;
  if (generic || instruction.space == Space::kGlobal) {
    kernel_->global_granule_shift = std::min(kernel_->global_granule_shift, shift);
  }
  if (generic || instruction.space == Space::kShared) {
    kernel_->shared_granule_shift = std::min(kernel_->shared_granule_shift, shift);
  }
}

void Decoder::load_or_store(const Statement& statement,
                            const std::vector<std::string_view>& fields) {
  const bool loads = fields[0] == "ld";
  expect_operands(statement, 2, 2);
  Instruction instruction = start(statement);
  Modifiers modifiers(fields);

  const std::string_view order =
      modifiers.take(loads ? Names{"weak", "volatile", "relaxed", "acquire"}
                           : Names{"weak", "volatile", "relaxed", "release"});
  instruction.atomic = order == "relaxed" || order == "acquire" || order == "release";
  if (instruction.atomic && modifiers.take(scopes()).empty()) bad(statement, "needs a scope");
  Names spaces{"global", "shared", "shared::cta", "local"};
  if (loads) spaces.insert(spaces.end(), {"param", "param::entry"});
  instruction.space = space_of(modifiers.take(spaces));
  if (loads && modifiers.take("nc")) {
    if (instruction.space != Space::kGlobal) bad(statement, ".nc is for global memory");
  }
  modifiers.take(loads ? Names{"ca", "cg", "cs", "lu", "cv"} : Names{"wb", "cg", "cs", "wt"});
  take_cache_advice(modifiers);
  const std::string_view vector = modifiers.take(Names{"v2", "v4"});
  instruction.count = vector.empty() ? 1 : vector == "v2" ? 2 : 4;
  const std::string type(modifiers.take_last());
  instruction.width = static_cast<u8>(type_bytes("." + type));
  static const Names kNotHere{"f16", "bf16", "f16x2", "bf16x2", "b128"};
  if (!modifiers.done() || instruction.width == 0 ||
      std::find(kNotHere.begin(), kNotHere.end(), type) != kNotHere.end() ||
      instruction.width * instruction.count > 16) {
    bad(statement, "unknown modifiers");
  }

  const OperandSyntax& data = statement.operands[loads ? 0 : 1];
  address(statement, statement.operands[loads ? 1 : 0], instruction);
  std::vector<OperandSyntax> elements{data};
  if (instruction.count > 1) {
    if (data.kind != OperandSyntax::Kind::kVector || data.elements.size() != instruction.count) {
      bad(statement, "needs a vector of that length");
    }
    elements = data.elements;
  }
  // All registers of a vector have the same width: that of the type, or wider.
  char letter = type_bytes("." + type) == 1   ? 'b'
                : type_bytes("." + type) == 2 ? 'h'
                : type_bytes("." + type) == 4 ? 'w'
                                              : 'd';
  for (const OperandSyntax& element : elements) {
    if (element.kind != OperandSyntax::Kind::kName) continue;
    const TypedRegister found = register_operand(statement, element);
    if (found.letter == 'p' || letter_bytes(found.letter) < instruction.width) {
      bad(statement, std::string(element.name) + " is too narrow");
    }
    letter = found.letter;
  }
  for (const OperandSyntax& element : elements) {
    if (loads) {
      instruction.out[instruction.outputs++] = written_operand(statement, element, letter).reg;
    } else {
      instruction.in[instruction.inputs++] = read_operand(statement, element, letter).reg;
    }
  }
  const int register_bytes = letter_bytes(letter);
  instruction.handler = loads ? load_handler(instruction.width, register_bytes, type[0] == 's')
                              : store_handler(instruction.width, register_bytes);
  if (instruction.handler == nullptr) bad(statement, "unknown combination of widths");
  note_access(instruction);
  emit(instruction, statement);
}

void Decoder::atomic(const Statement& statement, const std::vector<std::string_view>& fields) {
  const bool returns = fields[0] == "atom";
  Instruction instruction = start(statement);
  Modifiers modifiers(fields);
  modifiers.take(Names{"relaxed", "acquire", "release", "acq_rel"});
  modifiers.take(scopes());
  instruction.space = space_of(modifiers.take(Names{"global", "shared", "shared::cta"}));
  const std::string_view operation =
      modifiers.take(Names{"add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"});
  const std::string type(modifiers.take_last());
  instruction.handler =
      modifiers.done() && !operation.empty() ? atomic_handler(operation, type, returns) : nullptr;
  if (instruction.handler == nullptr) bad(statement, "unknown atomic");
  instruction.width = static_cast<u8>(type_bytes("." + type));
  instruction.atomic = true;
  const char letter = instruction.width == 4 ? 'w' : 'd';

  const std::size_t inputs = operation == "cas" ? 2 : 1;
  const std::size_t first = returns ? 1 : 0;
  expect_operands(statement, first + 1 + inputs, first + 1 + inputs);
  address(statement, statement.operands[first], instruction);
  if (returns) {
    instruction.out[instruction.outputs++] =
        written_operand(statement, statement.operands[0], letter).reg;
  }
  for (std::size_t k = 0; k < inputs; ++k) {
    instruction.in[instruction.inputs++] =
        read_operand(statement, statement.operands[first + 1 + k], letter).reg;
  }
  note_access(instruction);
  emit(instruction, statement);
}

// Addresses must be registers without offsets. A copy that fills some bytes with zeros is not
// modelled.
void Decoder::async_copy(const Statement& statement, const std::vector<std::string_view>& fields) {
  Instruction instruction = start(statement);
  if (statement.name == "cp.async.commit_group") {
    expect_operands(statement, 0, 0);
    instruction.handler = async_commit_handler();
  } else if (statement.name == "cp.async.wait_group" || statement.name == "cp.async.wait_all") {
    const bool all = fields[2] == "wait_all";
    expect_operands(statement, all ? 0 : 1, all ? 0 : 1);
    if (!all) {
      const OperandSyntax& later = statement.operands[0];
      if (later.kind != OperandSyntax::Kind::kLiteral) bad(statement, "needs a literal");
      instruction.immediate = static_cast<s64>(later.literal.bits);
    } else {
      instruction.handler = async_commit_handler();
      emit(instruction, statement);
      instruction.hidden = true;
    }
    instruction.handler = async_wait_handler();
  } else {
    expect_operands(statement, 3, 3);
    const OperandSyntax& bytes = statement.operands[2];
    const bool is_16 = statement.name == "cp.async.cg.shared.global";
    if (!is_16 && statement.name != "cp.async.ca.shared.global") {
      bad(statement, "unknown modifiers");
    }
    instruction.width = static_cast<u8>(bytes.literal.bits);
    const bool is_width =
        instruction.width == 16 || (!is_16 && (instruction.width == 4 || instruction.width == 8));
    if (bytes.kind != OperandSyntax::Kind::kLiteral || !is_width) bad(statement, "unknown width");
    Register addresses[2];
    for (int k = 0; k < 2; ++k) {
      instruction.space = k == 0 ? Space::kShared : Space::kGlobal;
      address(statement, statement.operands[static_cast<std::size_t>(k)], instruction);
      if (instruction.immediate != 0) bad(statement, "has an offset");
      if (instruction.narrow_address != (k == 0)) bad(statement, "an address of another width");
      addresses[k] = instruction.in[0];
      note_access(instruction);
    }
    instruction.inputs = 2;
    instruction.in[0] = addresses[0];
    instruction.in[1] = addresses[1];
    instruction.handler = async_copy_handler();
  }
  emit(instruction, statement);
}

// A hint without effect: any address is allowed.
void Decoder::prefetch(const Statement& statement, const std::vector<std::string_view>& fields) {
  expect_operands(statement, 1, 1);
  Instruction instruction = start(statement);
  Modifiers modifiers(fields);
  instruction.space = space_of(modifiers.take(Names{"global", "local"}));
  const auto level = modifiers.take(Names{"L1", "L2", "L2::evict_last", "L2::evict_normal"});
  if (level.empty() || !modifiers.done()) bad(statement, "unknown modifiers");
  address(statement, statement.operands[0], instruction);
  instruction.handler = [](Machine&, Warp&, const Instruction&, Mask) {};
  emit(instruction, statement);
}

}  // namespace cudasim
