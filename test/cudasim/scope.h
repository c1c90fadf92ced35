// The names that a kernel declares, by nested scope of its text. Assigns each register its offset
// in a warp's register file.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "program.h"
#include "ptx_parser.h"

namespace cudasim {

struct TypedRegister {
  Register reg;
  char letter = 'w';  // as in Operation::shape
};

struct NamedMemory {
  Space space = Space::kParam;
  u64 offset = 0;
};

int letter_bytes(char letter);

class Scopes {
 public:
  explicit Scopes(Kernel& kernel) : kernel_(kernel), levels_(1) {}

  void open() { levels_.emplace_back(); }
  void close() { levels_.pop_back(); }
  std::size_t depth() const { return levels_.size(); }

  void declare(const RegisterDeclaration& declaration);
  void declare(std::string_view name, NamedMemory memory, u32 line);

  // Null: no register, or memory, has this name.
  const TypedRegister* find_register(std::string_view name);
  const NamedMemory* find_memory(std::string_view name) const;

  TypedRegister new_register(char letter);
  // A register that holds the value in every lane.
  TypedRegister constant(char letter, u64 bits);
  std::optional<TypedRegister> special(std::string_view name);

 private:
  struct Range {
    char letter = 'w';
    int count = 0;
  };
  struct Level {
    std::unordered_map<std::string_view, Range> ranges;  // %r<5> under %r
    std::unordered_map<std::string_view, TypedRegister> registers;
    std::map<std::string_view, NamedMemory> memory;
  };

  Kernel& kernel_;
  std::vector<Level> levels_;
  std::map<std::pair<char, u64>, TypedRegister> constants_;
  std::map<Special, TypedRegister> specials_;
};

}  // namespace cudasim
