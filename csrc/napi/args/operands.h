// Operands of a call: where their rows lie in memory, and what they may overlap.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../values.h"
#include "operation.h"

namespace rmsnorm::napi {

class DeviceBuffer;

// `count` items (rows of a batch, or batches) that begin `stride` elements apart.
struct Level {
  std::int64_t count;
  std::int64_t stride;

  bool operator==(const Level&) const = default;
};

// An operand: batches of rows of `columns` elements. The first row begins at element `offset` of
// the array. A vector is one row. If the call still has to allocate an output, the fields describe
// the future array.
struct Operand {
  const OperandRule* rule;
  napi_value value;            // null for an output to allocate
  char* memory;                // the first byte of the array; null for an output to allocate
  std::int64_t length;         // elements of the array
  const DeviceBuffer* buffer;  // owns the memory, if that is on a device; else null
  bool is_shared;              // memory of a SharedArrayBuffer, which does not move
  DType dtype;
  std::int64_t offset;
  std::int64_t columns;
  Level rows;
  Level batches;
  const char* end;  // the byte after the last row; null for an output to allocate

  std::int64_t element_bytes() const { return element_size(dtype); }
  std::int64_t row_bytes() const { return columns * element_bytes(); }
  std::int64_t row_count() const { return rows.count * batches.count; }
  // Whether the rows are contiguous.
  bool is_packed() const {
    return batches.count == 1 && (rows.count <= 1 || rows.stride == columns);
  }
  // Its first element.
  char* data() const { return memory == nullptr ? nullptr : memory + offset * element_bytes(); }
  // The operand as a matrix of the operator: ConstRows or Rows.
  template <class Matrix>
  Matrix as() const {
    return {data(), rows.stride, batches.count == 1 ? kOneBatch : rows.count, batches.stride};
  }
  // Sets contiguous rows of `columns` elements.
  void pack(std::int64_t row_count) {
    offset = 0;
    rows = {row_count, columns};
    batches = {1, 0};
  }
};

// Number of elements from the operand's first to its last, both included; -1 if that number
// overflows an int64.
std::int64_t reach(const Operand& operand);

// Binds an operand's rows to a layout of four whole numbers from 0 up (CallRecord::layouts).
// `shape` must have at most 2^53 elements. Errors: kOutOfRange.
Status bind_layout(Shape shape, const std::int64_t (&layout)[4], Operand* operand);

// An output's rows must not overlap each other. Errors: kInvalidValue.
Status check_own_rows(const Operand& output);

// An output must not overlap another operand. With `may_equal`, both may be exactly the same rows.
// Alternating rows of two operands with equal layouts do not overlap. An operand whose layout
// differs counts as using all memory from its first to its last element. Errors: kInvalidValue.
Status check_overlap(const Operand& output, const Operand& other, bool may_equal);

// For a call that writes no matrix: at least one of its input matrices, a and b, must have rows
// that do not overlap. Inputs may repeat rows, with a stride of 0 or of less than a row. So a few
// elements can stand for more rows than a machine can compute. In other calls the output's rows do
// not overlap, so memory limits their number. Errors: kInvalidValue.
Status check_rows_have_memory(const Operand& a, const Operand& b);

}  // namespace rmsnorm::napi
