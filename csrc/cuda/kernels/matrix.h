// Matrices as the kernels take them. A kernel finds a row in batches (rms_norm.h) by
// multiplication, because a 64-bit division takes a hundred instructions on a GPU.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../../op/rms_norm.h"

namespace rmsnorm::cuda {

// Division of row numbers by a constant of the call: (dividend * multiplier >> 32) >> shift, exact
// for dividends and divisors below 2^31.
// Source: Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994.
struct Divisor {
  std::uint32_t value = 0;
  std::uint32_t multiplier = 0;  // 0: every quotient is 0, for any dividend
  std::uint32_t shift = 0;

  constexpr std::uint32_t quotient(std::int64_t dividend) const {
    const std::uint64_t low = static_cast<std::uint32_t>(dividend);
    return static_cast<std::uint32_t>(low * multiplier >> 32) >> shift;
  }
};

// For 2 <= value < 2^31.
constexpr Divisor divisor_of(std::int64_t value) {
  std::uint32_t shift = 0;
  while (std::int64_t{2} << shift < value) ++shift;
  const std::uint64_t power = std::uint64_t{1} << (32 + shift);
  const auto divisor = static_cast<std::uint32_t>(value);
  return {divisor, static_cast<std::uint32_t>((power + divisor - 1) / divisor), shift};
}

// A ConstRows or Rows (rms_norm.h) whose division by batch_rows is prepared. Row r begins at
// element q * batch_stride + (r - q * batch_rows) * row_stride, where q is r / batch_rows, rounded
// down.
template <class Data>
struct MatrixOf {
  Data* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t batch_stride = 0;
  Divisor batch_rows;  // its quotients are 0 if all rows are one batch
};
using ConstMatrix = MatrixOf<const void>;
using Matrix = MatrixOf<void>;

// The same rows as those of `matrix`, in one batch if the strides allow it.
template <class AnyRows>
constexpr AnyRows merge_batches(const AnyRows& matrix, std::int64_t rows) {
  if (matrix.batch_rows >= rows) return {matrix.data, matrix.row_stride};
  if (matrix.batch_rows == 1) return {matrix.data, matrix.batch_stride};
  if (matrix.batch_stride == matrix.batch_rows * matrix.row_stride) {
    return {matrix.data, matrix.row_stride};
  }
  return matrix;
}

// Matrices with batches must have fewer rows than this.
inline constexpr std::int64_t kMaxBatchedRows = std::int64_t{1} << 31;

// Converts a ConstRows or a Rows to a ConstMatrix or a Matrix.
template <class AnyRows>
constexpr auto kernel_matrix(const AnyRows& matrix, std::int64_t rows)
    -> MatrixOf<std::remove_pointer_t<decltype(matrix.data)>> {
  if (matrix.data == nullptr) return {};
  const AnyRows merged = merge_batches(matrix, rows);
  if (merged.batch_rows == kOneBatch) return {merged.data, merged.row_stride, 0, {}};
  return {merged.data, merged.row_stride, merged.batch_stride, divisor_of(merged.batch_rows)};
}

}  // namespace rmsnorm::cuda
