#include "decoder.h"

#include <algorithm>
#include <bit>

#include "lanewise.h"

namespace cudasim {
namespace {

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::string one_line(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank) {
      result += c;
    } else if (!result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  return result;
}

}  // namespace

std::vector<std::string_view> split_mnemonic(std::string_view mnemonic) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= mnemonic.size();) {
    const std::size_t end = std::min(mnemonic.find('.', begin), mnemonic.size());
    fields.push_back(mnemonic.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

const Operation* find_operation(std::string_view mnemonic) {
  static const OperationTable kTable = [] {
    OperationTable table;
    add_integer_operations(table);
    add_bit_operations(table);
    add_float_operations(table);
    add_directed_operations(table);
    add_half_operations(table);
    add_compare_operations(table);
    add_convert_operations(table);
    add_common_conversions(table);
    add_approximate_operations(table);
    add_warp_operations(table);
    return table;
  }();
  return kTable.find(std::string(mnemonic));
}

Decoder::Decoder(const ModuleSyntax& module, const EntrySyntax& entry)
    : module_(module), entry_(entry), kernel_(std::make_unique<Kernel>()), scopes_(*kernel_) {}

std::unique_ptr<Kernel> Decoder::run() {
  kernel_->info.name = entry_.name;
  if (entry_.max_threads) kernel_->info.max_threads = std::min(*entry_.max_threads, 1024);
  if (entry_.required_threads) {
    std::size_t threads = 1;
    for (std::size_t k = 0; k < 3; ++k) {
      kernel_->required_threads[k] = static_cast<unsigned>((*entry_.required_threads)[k]);
      threads *= kernel_->required_threads[k];
    }
    kernel_->info.max_threads = static_cast<int>(std::min<std::size_t>(threads, 1024));
  }
  declare_parameters();
  declare_shared(module_.variables);
  for (const Statement& one : entry_.body) statement(one);
  resolve_flow();
  return std::move(kernel_);
}

void Decoder::declare_parameters() {
  KernelInfo& info = kernel_->info;
  for (const Variable& parameter : entry_.parameters) {
    const std::size_t bytes = parameter.element_bytes * parameter.elements;
    info.parameter_bytes = round_up(info.parameter_bytes, parameter.align);
    scopes_.declare(parameter.name, {Space::kParam, info.parameter_bytes}, parameter.line);
    info.parameter_offsets.push_back(info.parameter_bytes);
    info.parameter_sizes.push_back(bytes);
    info.parameter_bytes += bytes;
  }
}

// Lays out shared memory: the module's static variables that the kernel uses, the kernel's own,
// then the dynamic memory, which all unsized variables share.
void Decoder::declare_shared(const std::vector<Variable>& of_module) {
  std::size_t& bytes = kernel_->info.static_shared_bytes;
  std::size_t dynamic_align = 16;
  const auto named = [&](const OperandSyntax& operand, std::string_view name, auto&& self) -> bool {
    return operand.name == name ||
           std::any_of(operand.elements.begin(), operand.elements.end(),
                       [&](const OperandSyntax& element) { return self(element, name, self); });
  };
  const auto used = [&](std::string_view name) {
    return std::any_of(entry_.body.begin(), entry_.body.end(), [&](const Statement& one) {
      return std::any_of(one.operands.begin(), one.operands.end(),
                         [&](const OperandSyntax& operand) { return named(operand, name, named); });
    });
  };
  for (const Variable& variable : of_module) {
    if (!used(variable.name)) continue;
    if (variable.unsized) {
      dynamic_align = std::max(dynamic_align, variable.align);
      continue;
    }
    bytes = round_up(bytes, variable.align);
    scopes_.declare(variable.name, {Space::kShared, bytes}, variable.line);
    bytes += variable.element_bytes * variable.elements;
  }
  for (const Statement& one : entry_.body) {
    if (one.kind != Statement::Kind::kVariable || one.variable.space != ".shared") continue;
    if (one.variable.unsized) reject(one.line, "a shared variable without a size");
    bytes = round_up(bytes, one.variable.align);
    // A shared variable is visible in the whole kernel, even if an inner block declares it.
    scopes_.declare(one.variable.name, {Space::kShared, bytes}, one.line);
    bytes += one.variable.element_bytes * one.variable.elements;
  }
  kernel_->dynamic_shared_begin = round_up(bytes, dynamic_align);
  for (const Variable& variable : of_module) {
    if (!variable.unsized || !used(variable.name)) continue;
    scopes_.declare(variable.name, {Space::kShared, kernel_->dynamic_shared_begin}, variable.line);
  }
}

void Decoder::declare(const Variable& variable) {
  if (variable.space == ".shared") return;  // declare_shared() declared it
  if (variable.unsized) reject(variable.line, "a local variable without a size");
  kernel_->local_bytes = round_up(kernel_->local_bytes, variable.align);
  scopes_.declare(variable.name, {Space::kLocal, kernel_->local_bytes}, variable.line);
  kernel_->local_bytes += variable.element_bytes * variable.elements;
}

void Decoder::statement(const Statement& statement) {
  switch (statement.kind) {
    case Statement::Kind::kOpen:
      scopes_.open();
      return;
    case Statement::Kind::kClose:
      scopes_.close();
      return;
    case Statement::Kind::kRegisters:
      scopes_.declare(statement.registers);
      return;
    case Statement::Kind::kVariable:
      declare(statement.variable);
      return;
    case Statement::Kind::kLabel:
      if (!labels_.emplace(statement.name, static_cast<u32>(kernel_->code.size())).second) {
        reject(statement.line, "the label " + std::string(statement.name) + " occurs twice");
      }
      return;
    case Statement::Kind::kInstruction:
      break;
  }
  const std::vector<std::string_view> fields = split_mnemonic(statement.name);
  if (control_statement(statement, fields) || memory_statement(statement, fields) ||
      move_statement(statement, fields)) {
    return;
  }
  const Operation* found = find_operation(statement.name);
  if (found == nullptr) bad(statement, "unknown instruction");
  operation(statement, *found);
}

void Decoder::operation(const Statement& statement, const Operation& operation) {
  const std::size_t equals = operation.shape.find('=');
  std::string outputs = operation.shape.substr(0, equals);
  const std::string inputs = operation.shape.substr(equals + 1);
  const bool optional = outputs.ends_with("p?");
  if (optional) outputs.resize(outputs.size() - 2);
  const std::size_t immediates = operation.immediate_operand >= 0 ? 1 : 0;
  const std::size_t operands = outputs.size() + inputs.size() + immediates;
  expect_operands(statement, operands, operands);

  Instruction instruction = start(statement);
  instruction.handler = operation.handler;
  instruction.immediate = operation.immediate;
  instruction.copies = statement.name == "mov.pred";
  std::string widen;  // the conversion of a result to a register wider than the type
  Register wide;
  for (const char letter : outputs) {
    const OperandSyntax& operand = statement.operands[instruction.outputs];
    TypedRegister out{};
    if (operation.relaxed && operand.kind == OperandSyntax::Kind::kName) {
      out = register_operand(statement, operand);
      if (out.letter != 'p' && letter_bytes(out.letter) > letter_bytes(letter)) {
        const std::string sign = operation.extends_sign ? "s" : "u";
        widen = "cvt." + sign + std::to_string(8 * letter_bytes(out.letter)) + "." + sign +
                std::to_string(8 * letter_bytes(letter));
        wide = out.reg;
        out = scopes_.new_register(letter);
      }
    }
    if (widen.empty()) out = written_operand(statement, operand, letter);
    instruction.out[instruction.outputs++] = out.reg;
  }
  if (optional && !statement.operands[0].second.empty()) {
    OperandSyntax second;
    second.name = statement.operands[0].second;
    instruction.out[instruction.outputs++] = written_operand(statement, second, 'p').reg;
  } else if (!statement.operands.empty() && !statement.operands[0].second.empty()) {
    bad(statement, "has no second result");
  }
  for (const char letter : inputs) {
    const OperandSyntax& operand = statement.operands[outputs.size() + instruction.inputs];
    TypedRegister in{};
    bool narrowed = false;
    if (operation.relaxed && operand.kind == OperandSyntax::Kind::kName &&
        scopes_.find_register(operand.name) != nullptr) {
      const TypedRegister source = register_operand(statement, operand);
      if (source.letter != 'p' && letter_bytes(source.letter) > letter_bytes(letter)) {
        in = scopes_.new_register(letter);
        emit_hidden(statement,
                    "cvt.u" + std::to_string(8 * letter_bytes(letter)) + ".u" +
                        std::to_string(8 * letter_bytes(source.letter)),
                    in.reg, source.reg);
        narrowed = true;
      }
    }
    if (!narrowed) in = read_operand(statement, operand, letter);
    instruction.in[instruction.inputs++] = in.reg;
  }
  if (immediates != 0) {
    const OperandSyntax& last = statement.operands.back();
    if (last.kind != OperandSyntax::Kind::kLiteral) bad(statement, "needs a literal at the end");
    instruction.immediate = static_cast<s64>(last.literal.bits);
  }
  emit(instruction, statement);
  if (!widen.empty()) emit_hidden(statement, widen, wide, instruction.out[0]);
}

Instruction Decoder::start(const Statement& statement) {
  Instruction instruction;
  instruction.line = statement.line;
  guard(statement, instruction);
  return instruction;
}

void Decoder::guard(const Statement& statement, Instruction& instruction) {
  if (statement.guard.empty()) return;
  const TypedRegister* found = scopes_.find_register(statement.guard);
  if (found == nullptr || found->letter != 'p') bad(statement, "the guard is no predicate");
  instruction.guarded = true;
  instruction.guard_negated = statement.guard_negated;
  instruction.guard = found->reg;
}

void Decoder::emit(const Instruction& instruction, const Statement& statement) {
  kernel_->code.push_back(instruction);
  kernel_->statements.push_back(one_line(statement.text));
}

void Decoder::emit_hidden(const Statement& statement, const std::string& mnemonic, Register out,
                          Register in) {
  const Operation* found = find_operation(mnemonic);
  if (found == nullptr) bad(statement, "needs " + mnemonic);
  Instruction instruction = start(statement);
  instruction.handler = found->handler;
  instruction.hidden = true;
  instruction.copies = true;
  instruction.outputs = instruction.inputs = 1;
  instruction.out[0] = out;
  instruction.in[0] = in;
  emit(instruction, statement);
}

void Decoder::bad(const Statement& statement, const std::string& why) const {
  reject(statement.line, std::string(entry_.name) + ": " + one_line(statement.text) + ": " + why);
}

void Decoder::expect_operands(const Statement& statement, std::size_t least,
                              std::size_t most) const {
  const std::size_t count = statement.operands.size();
  if (count < least || count > most) {
    bad(statement, "has " + std::to_string(count) + " operands");
  }
}

u64 Decoder::literal_bits(const Statement& statement, const Literal& literal, char letter) const {
  switch (literal.kind) {
    case Literal::Kind::kInteger:
      return literal.bits;
    case Literal::Kind::kFloat32:
      if (letter == 'w') return literal.bits;
      if (letter == 'd') {
        return std::bit_cast<u64>(
            static_cast<double>(std::bit_cast<float>(static_cast<u32>(literal.bits))));
      }
      break;
    case Literal::Kind::kFloat64:
      if (letter == 'd') return literal.bits;
      if (letter == 'w') {
        return std::bit_cast<u32>(static_cast<float>(std::bit_cast<double>(literal.bits)));
      }
      break;
  }
  bad(statement, "a literal of another type");
}

TypedRegister Decoder::register_operand(const Statement& statement, const OperandSyntax& operand) {
  const TypedRegister* found = operand.kind == OperandSyntax::Kind::kName && operand.offset == 0
                                   ? scopes_.find_register(operand.name)
                                   : nullptr;
  if (found == nullptr) bad(statement, std::string(operand.name) + " is no register");
  return *found;
}

TypedRegister Decoder::written_operand(const Statement& statement, const OperandSyntax& operand,
                                       char letter) {
  if (operand.kind == OperandSyntax::Kind::kSink) return scopes_.new_register(letter);
  const TypedRegister out = register_operand(statement, operand);
  if (out.letter != letter) bad(statement, std::string(operand.name) + " is of another width");
  return out;
}

TypedRegister Decoder::read_operand(const Statement& statement, const OperandSyntax& operand,
                                    char letter) {
  if (operand.kind == OperandSyntax::Kind::kLiteral) {
    if (letter != 'p') {
      return scopes_.constant(letter, literal_bits(statement, operand.literal, letter));
    }
    return scopes_.constant('p', operand.literal.bits != 0 ? kAllLanes : 0);
  }
  if (operand.kind != OperandSyntax::Kind::kName) bad(statement, "an operand of a wrong kind");
  if (operand.name == "WARP_SZ") return scopes_.constant(letter, kLanes);
  TypedRegister result{};
  if (const TypedRegister* found = scopes_.find_register(operand.name); found != nullptr) {
    result = register_operand(statement, operand);
  } else if (const auto special = scopes_.special(operand.name)) {
    result = *special;
  } else {
    bad(statement, std::string(operand.name) + " is no register");
  }
  if (result.letter != letter) bad(statement, std::string(operand.name) + " is of another width");
  if (operand.negated) {
    if (letter != 'p') bad(statement, "! before what is no predicate");
    const TypedRegister inverse = scopes_.new_register('p');
    emit_hidden(statement, "not.pred", inverse.reg, result.reg);
    return inverse;
  }
  return result;
}

u64 Decoder::variable_address(const NamedMemory& memory, Space wanted) const {
  return memory.offset + (wanted == Space::kGeneric ? window(memory.space) : 0);
}

void Decoder::address(const Statement& statement, const OperandSyntax& operand,
                      Instruction& instruction) {
  if (operand.kind != OperandSyntax::Kind::kAddress) bad(statement, "needs an address");
  instruction.inputs = 1;
  instruction.immediate = operand.offset;
  if (const NamedMemory* memory = scopes_.find_memory(operand.name)) {
    if (memory->space != instruction.space && instruction.space != Space::kGeneric) {
      bad(statement, std::string(operand.name) + " is in another space");
    }
    instruction.in[0] = scopes_.constant('d', variable_address(*memory, instruction.space)).reg;
    return;
  }
  if (operand.name.empty()) {
    instruction.in[0] = scopes_.constant('d', 0).reg;
    return;
  }
  OperandSyntax base;
  base.name = operand.name;
  const TypedRegister found = register_operand(statement, base);
  instruction.narrow_address = found.letter == 'w';
  const bool wide_only =
      instruction.space == Space::kGlobal || instruction.space == Space::kGeneric;
  if (found.letter != 'd' && (found.letter != 'w' || wide_only)) {
    bad(statement, std::string(operand.name) + " is too narrow for an address");
  }
  instruction.in[0] = found.reg;
}

}  // namespace cudasim
