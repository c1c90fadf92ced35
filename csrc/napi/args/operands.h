// Which part of its memory an operand uses, and what it may overlap.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../values.h"
#include "operation.h"

namespace rmsnorm::napi {

class DeviceBuffer;

// `count` things, `stride` elements from one to the next.
struct Level {
  std::int64_t count;
  std::int64_t stride;

  bool operator==(const Level&) const = default;
};

// Batches of rows of `columns` elements, the first at `offset`; a vector is one row. Of an output
// to be made, what would be.
struct Operand {
  const OperandRule* rule;
  napi_value value;            // null of an output to be made
  char* memory;                // the first byte of the array; null of an output to be made
  std::int64_t length;         // elements of the array
  const DeviceBuffer* buffer;  // whose memory it is, if that is on a device
  bool is_shared;              // on a SharedArrayBuffer, whose memory does not move
  DType dtype;
  std::int64_t offset;
  std::int64_t columns;
  Level rows;
  Level batches;
  const char* end;  // behind its last row; null of an output to be made

  std::int64_t element_bytes() const { return element_size(dtype); }
  std::int64_t row_bytes() const { return columns * element_bytes(); }
  std::int64_t row_count() const { return rows.count * batches.count; }
  // Whether the rows lie one behind another without gaps.
  bool is_packed() const {
    return batches.count == 1 && (rows.count <= 1 || rows.stride == columns);
  }
  // Its first element.
  char* data() const { return memory == nullptr ? nullptr : memory + offset * element_bytes(); }
  // As one of the operator's matrices: ConstRows or Rows.
  template <class Matrix>
  Matrix as() const {
    return {data(), rows.stride, batches.count == 1 ? kOneBatch : rows.count, batches.stride};
  }
  // Makes it packed rows of its shape.
  void pack(std::int64_t row_count) {
    offset = 0;
    rows = {row_count, columns};
    batches = {1, 0};
  }
};

// Elements from the first to the last of all, the last included; -1 if an int64 cannot count them.
std::int64_t reach(const Operand& operand);

// Places rows by a layout of four whole numbers from 0 up: see CallRecord. `shape` must have no
// more than 2^53 elements. Errors: kOutOfRange.
Status place_strided_rows(Shape shape, const std::int64_t (&layout)[4], Operand* operand);

// An output's rows must not overlap each other. Errors: kInvalidValue.
Status check_own_rows(const Operand& output);

// An output must not overlap another operand, unless it `may_equal` it, and is exactly that. Rows
// that alternate with those of an operand of the same strides do not overlap it; operands of
// different strides are taken to use all that lies between their ends. Errors: kInvalidValue.
Status check_overlap(const Operand& output, const Operand& other, bool may_equal);

// Inputs may repeat rows, by a stride of 0 or one below a row. A few elements can so stand for more
// rows than a machine can compute. An output bounds them: its rows do not overlap, and take memory.
// A call that writes no rows needs one of its two matrices of inputs to do that.
Status check_rows_have_memory(const Operand& a, const Operand& b);

}  // namespace rmsnorm::napi
