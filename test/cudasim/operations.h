// The instructions that only compute, by their full mnemonic. The table is the list of what is
// known: a combination of modifiers that has no row is no valid PTX here.
#pragma once

#include <string>
#include <string_view>

#include "warp.h"

namespace cudasim {

struct Operation {
  Handler handler = nullptr;
  // Registers as letters, outputs before '=': p a predicate, b 8 bits, h 16, w 32, d 64.
  std::string shape;
  // Registers may be wider than the type: the low bits are read, and results are extended.
  bool relaxed = false;
  bool extends_sign = false;
  int immediate_operand = -1;  // this input must be a literal and goes to Instruction::immediate
  s64 immediate = 0;           // what Instruction::immediate is otherwise
};

// Null if there is none.
const Operation* find_operation(std::string_view mnemonic);

class OperationTable;
void add_integer_operations(OperationTable& table);
void add_bit_operations(OperationTable& table);
void add_float_operations(OperationTable& table);
void add_directed_operations(OperationTable& table);
void add_half_operations(OperationTable& table);
void add_compare_operations(OperationTable& table);
void add_convert_operations(OperationTable& table);
void add_common_conversions(OperationTable& table);
void add_approximate_operations(OperationTable& table);
void add_warp_operations(OperationTable& table);

}  // namespace cudasim
