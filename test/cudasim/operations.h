// The table of instructions that only compute, by full mnemonic with all modifiers. The decoder
// rejects a mnemonic that has no row.
#pragma once

#include <string>
#include <string_view>

#include "warp.h"

namespace cudasim {

struct Operation {
  Handler handler = nullptr;
  // One letter for each register, outputs before '=': p predicate, b 8 bits, h 16, w 32, d 64.
  std::string shape;
  // Registers may be wider than the type: the low bits are read, and results are extended.
  bool relaxed = false;
  bool extends_sign = false;
  int immediate_operand = -1;  // this input must be a literal; it goes to Instruction::immediate
  s64 immediate = 0;           // Instruction::immediate if no input is a literal
};

// Null: unknown mnemonic.
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
