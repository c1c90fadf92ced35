// The call record: everything about a call except its operands. lib/call writes it just before the
// native call. JavaScript and C++ share its memory, so C++ reads it without Node-API calls.
// JavaScript may have written anything, so C++ copies each field, checks the copy and uses only
// that. Bit i of a mask stands for operand i of the operation (operation.h).
#pragma once

#include "operation.h"

namespace rmsnorm::napi {

struct CallRecord {
  std::int32_t dtype;       // a DType
  std::int32_t cast_order;  // a CastOrder
  std::int32_t accumulate;  // 0 or 1
  std::int32_t device;      // the ordinal of a CUDA device, or kCpu
  std::int32_t on_device;   // 1 if the operands are memory of that device
  std::int32_t given;       // bits of the operands passed as arguments
  std::int32_t made;        // bits of the outputs that an asynchronous call allocates
  std::int32_t float32;     // bits of the float32 vectors beside 16-bit tensors
  std::int32_t strided;     // bits of the matrices with a layout; the others are contiguous
  std::int32_t codes;       // the DType of the codes if y is quantised; else 0
  std::int32_t gate_order;  // a GateOrder
  std::int32_t unused;
  double rows;         // M
  double hidden_size;  // H
  double eps;          // added to the mean square
  double weight_offset;
  double scale;  // fields of Quantization, read only if the call quantises
  double scale_max;
  // For each operand: the first row's offset, the row stride, the rows per batch, the batch stride.
  // Offsets and strides are in elements.
  double layouts[kMaxOperands][4];
};

// The names of the fields in order: first the integers, then the numbers. The layouts follow.
inline constexpr const char* kRecordIntegers[] = {"dtype",    "castOrder", "accumulate", "device",
                                                  "onDevice", "given",     "made",       "float32",
                                                  "strided",  "codes",     "gateOrder"};
inline constexpr const char* kRecordNumbers[] = {"rows",         "hiddenSize", "eps",
                                                 "weightOffset", "scale",      "scaleMax"};

}  // namespace rmsnorm::napi
