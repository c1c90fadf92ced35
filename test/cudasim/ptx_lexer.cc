#include "ptx_lexer.h"

#include <string>

#include "machine.h"

namespace cudasim {

void reject(u32 line, const std::string& message) {
  throw Fault("invalid-ptx", "PTX line " + std::to_string(line) + ": " + message);
}

namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view ptx) : text_(ptx) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    for (;;) {
      skip_blanks();
      const Token token = next();
      if (token.is(".loc") || token.is(".file")) {
        skip_line();
        continue;
      }
      if (token.is(".section")) {
        skip_section(token.line);
        continue;
      }
      tokens.push_back(token);
      if (token.kind == Token::Kind::kEnd) return tokens;
    }
  }

 private:
  char at(std::size_t offset) const {
    return position_ + offset < text_.size() ? text_[position_ + offset] : '\0';
  }

  void skip_line() {
    while (position_ < text_.size() && text_[position_] != '\n') ++position_;
  }

  void skip_section(u32 line) {
    while (position_ < text_.size() && text_[position_] != '}') {
      if (text_[position_++] == '\n') ++line_;
    }
    if (position_ == text_.size()) reject(line, ".section without an end");
    ++position_;
  }

  void skip_blanks() {
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '\n') {
        ++line_;
      } else if (c == '/' && at(1) == '/') {
        skip_line();
        --position_;
      } else if (c == '/' && at(1) == '*') {
        const std::size_t end = text_.find("*/", position_ + 2);
        if (end == std::string_view::npos) reject(line_, "comment without an end");
        for (; position_ < end + 1; ++position_) line_ += text_[position_] == '\n';
      } else if (c != ' ' && c != '\t' && c != '\r' && c != '\0') {
        return;
      }
    }
  }

  Token next() {
    if (position_ >= text_.size()) return {Token::Kind::kEnd, {}, line_};
    const std::size_t begin = position_;
    const char c = text_[position_];
    Token::Kind kind = Token::Kind::kPunctuation;
    if (is_letter(c) || (c == '.' && is_letter(at(1)))) {
      kind = Token::Kind::kWord;
      skip_word();
    } else if (is_digit(c)) {
      kind = Token::Kind::kNumber;
      while (is_letter(at(0)) || is_digit(at(0)) || at(0) == '.') ++position_;
    } else if (c == '"') {
      kind = Token::Kind::kString;
      do {
        ++position_;
        if (at(0) == '\n' || at(0) == '\0') reject(line_, "string without an end");
      } while (at(0) != '"');
      ++position_;
    } else if (std::string_view("{}()[]<>,;:|@!+-=").find(c) != std::string_view::npos) {
      ++position_;
    } else {
      reject(line_, std::string("unknown character ") + c);
    }
    return {kind, text_.substr(begin, position_ - begin), line_};
  }

  void skip_word() {
    ++position_;
    for (;;) {
      if (is_letter(at(0)) || is_digit(at(0)) || at(0) == '.') {
        ++position_;
      } else if (at(0) == ':' && at(1) == ':') {
        position_ += 2;
      } else {
        return;
      }
    }
  }

  std::string_view text_;
  std::size_t position_ = 0;
  u32 line_ = 1;
};

}  // namespace

std::vector<Token> tokenize(std::string_view ptx) { return Lexer(ptx).run(); }

}  // namespace cudasim
