// Splits PTX text into tokens.
#pragma once

#include <string_view>
#include <vector>

#include "numbers.h"

namespace cudasim {

// Throws Fault("invalid-ptx").
[[noreturn]] void reject(u32 line, const std::string& message);

struct Token {
  enum class Kind : u8 { kWord, kNumber, kString, kPunctuation, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text;  // a word may hold dots and double colons: a mnemonic, %tid.x, .param
  u32 line = 0;

  bool is(std::string_view other) const { return kind != Kind::kString && text == other; }
};

// Skips .loc, .file and debug sections. The tokens refer to `ptx`; the last one is kEnd.
std::vector<Token> tokenize(std::string_view ptx);

}  // namespace cudasim
