#include "ptx_parser.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <utility>

namespace cudasim {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view ptx) : tokens_(tokenize(ptx)) {}

  ModuleSyntax run() {
    ModuleSyntax module;
    while (peek().kind != Token::Kind::kEnd) {
      const Token first = take();
      if (first.is(".version")) {
        take();
      } else if (first.is(".target")) {
        do take();
        while (accept(","));
      } else if (first.is(".address_size")) {
        if (!take().is("64")) reject(first.line, ".address_size other than 64");
      } else if (first.is(".visible") || first.is(".weak") || first.is(".extern")) {
        continue;
      } else if (first.is(".entry")) {
        module.entries.push_back(entry(first.line));
      } else if (first.is(".shared")) {
        module.variables.push_back(variable(first));
        expect(";");
      } else {
        reject(first.line, "unknown directive " + std::string(first.text));
      }
    }
    return module;
  }

 private:
  const Token& peek() const { return tokens_[position_]; }
  Token take() {
    const Token token = peek();
    if (token.kind == Token::Kind::kEnd) reject(token.line, "unexpected end");
    ++position_;
    return token;
  }
  bool accept(std::string_view text) {
    if (!peek().is(text)) return false;
    ++position_;
    return true;
  }
  Token expect(std::string_view text) {
    const Token token = take();
    if (!token.is(text)) {
      reject(token.line, "expected " + std::string(text) + " and found " + std::string(token.text));
    }
    return token;
  }
  std::string_view word() {
    const Token token = take();
    if (token.kind != Token::Kind::kWord) {
      reject(token.line, "expected a name and found " + std::string(token.text));
    }
    return token.text;
  }

  Literal literal() {
    const bool negative = accept("-");
    const Token token = take();
    if (token.kind != Token::Kind::kNumber) {
      reject(token.line, "expected a number and found " + std::string(token.text));
    }
    std::string digits(token.text);
    Literal value;
    if (digits.size() == 10 && (digits.starts_with("0f") || digits.starts_with("0F"))) {
      value = {Literal::Kind::kFloat32, parse_digits(digits.substr(2), 16, token.line)};
      if (negative) value.bits ^= 0x80000000u;
    } else if (digits.size() == 18 && (digits.starts_with("0d") || digits.starts_with("0D"))) {
      value = {Literal::Kind::kFloat64, parse_digits(digits.substr(2), 16, token.line)};
      if (negative) value.bits ^= u64{1} << 63;
    } else if (digits.find('.') != std::string::npos) {
      char* end = nullptr;
      const double number = std::strtod(digits.c_str(), &end);
      if (*end != '\0') reject(token.line, "not a number: " + digits);
      value = {Literal::Kind::kFloat64, std::bit_cast<u64>(negative ? -number : number)};
    } else {
      if (digits.back() == 'U') digits.pop_back();
      int base = 10;
      if (digits.starts_with("0x") || digits.starts_with("0X")) {
        base = 16;
      } else if (digits.starts_with("0b") || digits.starts_with("0B")) {
        base = 2;
      } else if (digits.size() > 1 && digits[0] == '0') {
        base = 8;
      }
      if (base == 16 || base == 2) digits.erase(0, 2);
      value.bits = parse_digits(digits, base, token.line);
      if (negative) value.bits = ~value.bits + 1;
    }
    return value;
  }

  static u64 parse_digits(const std::string& digits, int base, u32 line) {
    u64 value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
    if (error != std::errc() || stop != end) reject(line, "not a number: " + digits);
    return value;
  }

  int count(int least) {
    const u32 line = peek().line;
    const Literal value = literal();
    if (value.kind != Literal::Kind::kInteger || static_cast<s64>(value.bits) < least ||
        value.bits > 1u << 30) {
      reject(line, "not a possible number here");
    }
    return static_cast<int>(value.bits);
  }

  // A variable such as `.shared .align 4 .b8 name[16]`, where `space` is already taken.
  Variable variable(const Token& space) {
    Variable result;
    result.space = space.text;
    result.line = space.line;
    if (accept(".align")) result.align = static_cast<std::size_t>(count(1));
    const std::string_view type = word();
    result.element_bytes = type_bytes(type);
    if (result.element_bytes == 0) reject(space.line, "unknown type " + std::string(type));
    if (result.align == 0) result.align = result.element_bytes;
    if (!std::has_single_bit(result.align)) reject(space.line, "alignment no power of two");
    // A pointer parameter may say what it points to: `.param .u64 .ptr .global .align 16 name`.
    if (accept(".ptr")) {
      if (peek().is(".global") || peek().is(".shared") || peek().is(".const")) take();
      if (accept(".align")) count(1);
    }
    result.name = word();
    while (accept("[")) {
      if (accept("]")) {
        result.unsized = true;
        result.elements = 0;
      } else {
        result.elements *= static_cast<std::size_t>(count(1));
        expect("]");
      }
    }
    return result;
  }

  EntrySyntax entry(u32 line) {
    EntrySyntax result;
    result.line = line;
    result.name = word();
    if (accept("(") && !accept(")")) {
      do {
        const Token space = expect(".param");
        result.parameters.push_back(variable(space));
      } while (accept(","));
      expect(")");
    }
    while (!peek().is("{")) entry_directive(result);
    body(result.body);
    return result;
  }

  void entry_directive(EntrySyntax& result) {
    const Token directive = take();
    if (directive.is(".maxntid") || directive.is(".reqntid")) {
      std::vector<int> extents;
      do extents.push_back(count(1));
      while (accept(","));
      extents.resize(3, 1);
      if (directive.is(".maxntid")) {
        result.max_threads = extents[0] * extents[1] * extents[2];
      } else {
        result.required_threads = extents;
      }
    } else if (directive.is(".minnctapersm") || directive.is(".maxnreg")) {
      count(1);
    } else if (directive.is(".pragma")) {
      take();
      expect(";");
    } else {
      reject(directive.line, "unknown directive " + std::string(directive.text));
    }
  }

  void body(std::vector<Statement>& out) {
    int depth = 0;
    do {
      const Token first = peek();
      Statement statement;
      statement.line = first.line;
      if (accept("{")) {
        ++depth;
        statement.kind = Statement::Kind::kOpen;
        out.push_back(statement);
      } else if (accept("}")) {
        --depth;
        statement.kind = Statement::Kind::kClose;
        out.push_back(statement);
      } else if (accept(".reg")) {
        register_declarations(out, first.line);
      } else if (first.is(".shared") || first.is(".local")) {
        take();
        statement.kind = Statement::Kind::kVariable;
        statement.variable = variable(first);
        expect(";");
        out.push_back(statement);
      } else if (accept(".pragma")) {
        take();  // a hint for ptxas
        expect(";");
      } else if (first.kind == Token::Kind::kWord && tokens_[position_ + 1].is(":")) {
        statement.kind = Statement::Kind::kLabel;
        statement.name = word();
        expect(":");
        out.push_back(statement);
      } else if (!accept(";")) {
        instruction(statement);
        out.push_back(std::move(statement));
      }
    } while (depth > 0);
  }

  void register_declarations(std::vector<Statement>& out, u32 line) {
    const std::string_view type = word();
    do {
      Statement statement;
      statement.kind = Statement::Kind::kRegisters;
      statement.line = line;
      statement.registers.type = type;
      statement.registers.line = line;
      statement.registers.name = word();
      if (accept("<")) {
        statement.registers.count = count(0);
        expect(">");
      }
      out.push_back(std::move(statement));
    } while (accept(","));
    expect(";");
  }

  void instruction(Statement& statement) {
    const char* begin = peek().text.data();
    if (accept("@")) {
      statement.guard_negated = accept("!");
      statement.guard = word();
    }
    if (peek().kind == Token::Kind::kWord && peek().text[0] == '.') {
      reject(statement.line, "unknown directive " + std::string(peek().text));
    }
    statement.name = word();
    if (!peek().is(";")) {
      do statement.operands.push_back(operand());
      while (accept(","));
    }
    const Token end = expect(";");
    statement.text = std::string_view(begin, static_cast<std::size_t>(end.text.data() - begin));
  }

  OperandSyntax operand() {
    OperandSyntax result;
    result.negated = accept("!");
    const Token first = peek();
    if (accept("[")) {
      result.kind = OperandSyntax::Kind::kAddress;
      if (peek().kind == Token::Kind::kWord) result.name = word();
      if (result.name.empty() || accept("+")) {
        result.offset = static_cast<s64>(literal().bits);
      }
      expect("]");
    } else if (accept("{")) {
      result.kind = OperandSyntax::Kind::kVector;
      do result.elements.push_back(operand());
      while (accept(","));
      expect("}");
    } else if (first.kind == Token::Kind::kNumber || first.is("-")) {
      result.kind = OperandSyntax::Kind::kLiteral;
      result.literal = literal();
    } else if (accept("_")) {
      result.kind = OperandSyntax::Kind::kSink;
    } else {
      result.name = word();
      if (accept("+")) result.offset = static_cast<s64>(literal().bits);
    }
    if (accept("|")) result.second = word();
    return result;
  }

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
};

}  // namespace

std::size_t type_bytes(std::string_view type) {
  static constexpr std::array<std::pair<std::string_view, std::size_t>, 19> kTypes{{
      {".b8", 1},   {".u8", 1},    {".s8", 1},     {".b16", 2},   {".u16", 2},
      {".s16", 2},  {".f16", 2},   {".b32", 4},    {".u32", 4},   {".s32", 4},
      {".f32", 4},  {".b64", 8},   {".u64", 8},    {".s64", 8},   {".f64", 8},
      {".bf16", 2}, {".f16x2", 4}, {".bf16x2", 4}, {".b128", 16},
  }};
  for (const auto& [name, bytes] : kTypes) {
    if (name == type) return bytes;
  }
  return 0;
}

ModuleSyntax parse_ptx(std::string_view ptx) { return Parser(ptx).run(); }

}  // namespace cudasim
