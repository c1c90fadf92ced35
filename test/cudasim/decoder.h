// Decodes the syntax tree of a kernel. Anything unknown is rejected with its line.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "operations.h"
#include "scope.h"

namespace cudasim {

class Decoder {
 public:
  Decoder(const ModuleSyntax& module, const EntrySyntax& entry);

  std::unique_ptr<Kernel> run();

 private:
  // decoder.cc: declarations, statements, operands
  void declare_parameters();
  void declare_shared(const std::vector<Variable>& of_module);
  void declare(const Variable& variable);
  void statement(const Statement& statement);
  void operation(const Statement& statement, const Operation& operation);
  Instruction start(const Statement& statement);
  void emit(const Instruction& instruction, const Statement& statement);
  void emit_hidden(const Statement& statement, const std::string& mnemonic, Register out,
                   Register in);

  [[noreturn]] void bad(const Statement& statement, const std::string& why) const;
  void expect_operands(const Statement& statement, std::size_t least, std::size_t most) const;
  TypedRegister read_operand(const Statement& statement, const OperandSyntax& operand, char letter);
  // A register of any width.
  TypedRegister register_operand(const Statement& statement, const OperandSyntax& operand);
  TypedRegister written_operand(const Statement& statement, const OperandSyntax& operand,
                                char letter);
  void guard(const Statement& statement, Instruction& instruction);
  u64 literal_bits(const Statement& statement, const Literal& literal, char letter) const;
  // Puts the base address into in[0] and the offset into immediate. Checks that a named variable is
  // in the instruction's space.
  void address(const Statement& statement, const OperandSyntax& operand, Instruction& instruction);
  u64 variable_address(const NamedMemory& memory, Space wanted) const;

  // decode_memory.cc
  bool memory_statement(const Statement& statement, const std::vector<std::string_view>& fields);
  void load_or_store(const Statement& statement, const std::vector<std::string_view>& fields);
  void atomic(const Statement& statement, const std::vector<std::string_view>& fields);
  void async_copy(const Statement& statement, const std::vector<std::string_view>& fields);
  void prefetch(const Statement& statement, const std::vector<std::string_view>& fields);
  void note_access(const Instruction& instruction);

  // decode_moves.cc
  bool move_statement(const Statement& statement, const std::vector<std::string_view>& fields);
  void move(const Statement& statement, std::string_view type);
  void pack(const Statement& statement, char letter);
  void unpack(const Statement& statement, char letter);
  void convert_address(const Statement& statement, const std::vector<std::string_view>& fields);

  // decode_control.cc
  bool control_statement(const Statement& statement, const std::vector<std::string_view>& fields);
  void branch(const Statement& statement);
  void barrier(const Statement& statement, const std::vector<std::string_view>& fields);
  void resolve_flow();

  const ModuleSyntax& module_;
  const EntrySyntax& entry_;
  std::unique_ptr<Kernel> kernel_;
  Scopes scopes_;
  std::map<std::string_view, u32> labels_;
  std::map<u32, std::string_view> branches_;  // from index of instruction to label
};

std::vector<std::string_view> split_mnemonic(std::string_view mnemonic);

}  // namespace cudasim
