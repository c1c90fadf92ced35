// Parses PTX tokens into a syntax tree. It knows only the grammar; the decoder knows what names and
// mnemonics mean.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ptx_lexer.h"

namespace cudasim {

struct Literal {
  enum class Kind : u8 { kInteger, kFloat32, kFloat64 };
  Kind kind = Kind::kInteger;
  u64 bits = 0;
};

struct OperandSyntax {
  enum class Kind : u8 { kName, kLiteral, kVector, kAddress, kSink };
  Kind kind = Kind::kName;
  bool negated = false;                 // !%p
  std::string_view name;                // kName; the base of kAddress, empty if it has none
  Literal literal;                      // kLiteral
  s64 offset = 0;                       // added to the address or name
  std::vector<OperandSyntax> elements;  // kVector
  std::string_view second;              // the predicate of %r|%p
};

struct Variable {
  std::string_view space;  // ".param", ".shared", ".local"
  std::string_view name;
  std::size_t element_bytes = 0;
  std::size_t elements = 1;
  std::size_t align = 0;
  bool unsized = false;  // extern __shared__ name[]
  u32 line = 0;
};

struct RegisterDeclaration {
  std::string_view type;  // ".b32"
  std::string_view name;
  int count = -1;  // of name<count>; -1: a single register
  u32 line = 0;
};

struct Statement {
  enum class Kind : u8 { kInstruction, kLabel, kRegisters, kVariable, kOpen, kClose };
  Kind kind = Kind::kInstruction;
  u32 line = 0;
  std::string_view name;  // the mnemonic, or the label
  std::string_view guard;
  bool guard_negated = false;
  std::vector<OperandSyntax> operands;
  std::string_view text;  // of the whole instruction, for messages
  RegisterDeclaration registers;
  Variable variable;
};

struct EntrySyntax {
  std::string_view name;
  u32 line = 0;
  std::vector<Variable> parameters;
  std::vector<Statement> body;
  std::optional<int> max_threads;
  std::optional<std::vector<int>> required_threads;
};

struct ModuleSyntax {
  std::vector<Variable> variables;
  std::vector<EntrySyntax> entries;
};

// Bytes of one value of a type such as ".f32"; 0 if it is not a data type.
std::size_t type_bytes(std::string_view type);

// The tree refers to `ptx`.
ModuleSyntax parse_ptx(std::string_view ptx);

}  // namespace cudasim
