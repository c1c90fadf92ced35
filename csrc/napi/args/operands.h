// Which part of an array a call uses, where in memory that is, and what it may overlap.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "../values.h"

namespace rmsnorm::napi {

// `count` things, `stride` elements from one to the next.
struct Level {
  std::int64_t count = 1;
  std::int64_t stride = 0;

  bool operator==(const Level&) const = default;
};

// What is used of an array: batches of rows of `columns` elements, the first at `offset`; a vector
// is one row. Of a fresh array, or of one that is not given, what would be.
struct Operand {
  Array array;
  std::int64_t offset = 0;
  std::int64_t columns = 0;
  Level rows;
  Level batches;

  std::int64_t row_bytes() const { return columns * element_size(array.dtype); }
  std::int64_t row_count() const { return rows.count * batches.count; }
  // Whether the rows lie one behind another without gaps.
  bool is_packed() const {
    return batches.count == 1 && (rows.count <= 1 || rows.stride == columns);
  }
  // Its first element, or null if the array is not given.
  void* data() const {
    const auto* const memory = static_cast<const char*>(array.memory.data);
    return array.is_given() ? const_cast<char*>(memory) + offset * element_size(array.dtype)
                            : nullptr;
  }
  // As one of the operator's matrices: ConstRows or Rows.
  template <class Matrix>
  Matrix as() const {
    return {data(), rows.stride, batches.count == 1 ? kOneBatch : rows.count, batches.stride};
  }
};

// What check_length says of an array of another length.
Status length_error(const Array& array, std::int64_t length);

inline Status check_length(const Array& array, std::int64_t length) {
  if (!array.is_given() || array.memory.length == length) return {};
  return length_error(array, length);
}

// Says which part of `operand->array` is used, and refuses an array that does not have it. The
// whole of it, as a vector of `length` elements or as packed rows:
// (Inline, as all that every call of a short row does.)
inline Status place_vector(std::int64_t length, Operand* operand) {
  operand->columns = length;
  return check_length(operand->array, length);
}
inline Status place_rows(Shape shape, Operand* operand) {
  operand->columns = shape.hidden_size;
  operand->rows.count = shape.rows;
  operand->rows.stride = shape.hidden_size;
  return check_length(operand->array, shape.rows * shape.hidden_size);
}

// Rows by a layout of four numbers from 0 up, as binding.d.ts has them: their offset, row stride,
// rows of a batch and batch stride. A fresh array is packed whatever they say. `shape` must have no
// more than 2^53 elements.
Status place_strided_rows(Shape shape, const std::int64_t* layout, Operand* operand);

// An output's rows must not overlap each other, nor any of `others`, nor any of `may_equal` unless
// it is exactly that. Rows that alternate with those of an operand of the same strides do not
// overlap it; operands of different strides are taken to use all that lies between their ends.
Status check_overlap(const Operand& output, std::initializer_list<const Operand*> others,
                     std::initializer_list<const Operand*> may_equal);

// Inputs may repeat rows, by a stride of 0 or one below a row. A few elements can so stand for more
// rows than a machine can compute. An output bounds them: its rows do not overlap, and take memory.
// A call that writes no rows needs one of its two matrices of inputs to do that.
Status check_rows_have_memory(const Operand& a, const Operand& b);

}  // namespace rmsnorm::napi
