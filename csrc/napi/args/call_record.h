// What lib/call writes of a call before it makes it, but for its operands. The record lies in
// memory that JavaScript and C++ share, so that it is read without a call of Node-API. JavaScript
// may have written anything: each field is read once, and checked.
#pragma once

#include "operation.h"

namespace rmsnorm::napi {

struct CallRecord {
  std::int32_t dtype;       // of DType
  std::int32_t cast_order;  // of CastOrder
  std::int32_t accumulate;  // 0 or 1
  std::int32_t device;      // an ordinal, or kCpu
  std::int32_t on_device;   // 1 where the operands are memory of that device
  std::int32_t given;       // bits of the operands that are arguments
  std::int32_t made;        // bits of the outputs that an asynchronous call makes
  std::int32_t float32;     // bits of the vectors of float32 beside tensors of 16 bits
  std::int32_t strided;     // bits of the matrices whose rows lie by a layout; others are packed
  std::int32_t codes;       // a DType of codes, if y is quantised; else 0
  std::int32_t gate_order;  // of GateOrder
  std::int32_t unused;
  double rows;         // M
  double hidden_size;  // H
  double eps;          // added to the mean square
  double weight_offset;
  double scale;  // Quantization's; both are read of a call that quantises alone
  double scale_max;
  // Of each operand: the element that its first row begins at; from one row to the next; the rows
  // of a batch; from one batch to the next.
  double layouts[kMaxOperands][4];
};

// The names of the fields in their order, integers and numbers. The layouts follow.
inline constexpr const char* kRecordIntegers[] = {"dtype",    "castOrder", "accumulate", "device",
                                                  "onDevice", "given",     "made",       "float32",
                                                  "strided",  "codes",     "gateOrder"};
inline constexpr const char* kRecordNumbers[] = {"rows",         "hiddenSize", "eps",
                                                 "weightOffset", "scale",      "scaleMax"};

}  // namespace rmsnorm::napi
