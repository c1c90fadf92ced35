#include "operands.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

namespace rmsnorm::napi {
namespace {

std::string quoted(const Operand& operand) { return std::string("'") + operand.rule->name + "'"; }

// Whether a row of an operand overlaps a row of the same operand moved by `distance` bytes. With a
// distance of 0, a row is not compared with itself.
//
// Two rows overlap if their first bytes are less than a row apart. Let `few` be the level (rows or
// batches) with fewer items, and `many` the other level. First bytes are
// distance + i * few.stride + j * many.stride bytes apart, where i and j are differences of
// indices. The loop runs over i, which takes at most 2 * sqrt(rows) steps. For each i, only a j
// that brings the sum close to 0 can give an overlap, so three values of j are tested.
bool rows_meet(const Operand& operand, std::int64_t distance) {
  const std::int64_t size = operand.element_bytes();
  Level few = operand.rows;
  Level many = operand.batches;
  if (few.count > many.count) std::swap(few, many);
  few.stride *= size;
  many.stride *= size;
  for (std::int64_t i = 1 - few.count; i < few.count; ++i) {
    const std::int64_t begin = distance + i * few.stride;
    const std::int64_t nearest = many.stride == 0 ? 0 : -begin / many.stride;
    for (const std::int64_t near : {nearest - 1, nearest, nearest + 1}) {
      const std::int64_t j = std::clamp(near, 1 - many.count, many.count - 1);
      const bool is_itself = distance == 0 && i == 0 && j == 0;
      if (!is_itself && std::abs(begin + j * many.stride) < operand.row_bytes()) return true;
    }
  }
  return false;
}

bool has_same_layout(const Operand& a, const Operand& b) {
  return a.row_bytes() == b.row_bytes() && a.rows == b.rows && a.batches == b.batches;
}

std::int64_t address(const Operand& operand) {
  return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(operand.data()));
}

bool is_same(const Operand& a, const Operand& b) {
  return a.data() == b.data() && has_same_layout(a, b);
}

// Whether two different operands count as sharing elements. Their spans, from the first to the last
// element, must overlap. Operands with different layouts always count as sharing. Rows are compared
// only if the layouts are equal and not contiguous.
bool share_elements(const Operand& a, const Operand& b) {
  return a.is_packed() || !has_same_layout(a, b) || rows_meet(a, address(b) - address(a));
}

Status overlap_error(const Operand& output, const Operand& other, const char* how) {
  return {Code::kInvalidValue, "The arrays " + quoted(output) + " and " + quoted(other) +
                                   " must not overlap in memory" + how};
}

}  // namespace

std::int64_t reach(const Operand& operand) {
  if (operand.row_count() == 0) return 0;
  std::int64_t rows = 0;
  std::int64_t batches = 0;
  std::int64_t sum = 0;
  const bool overflows =
      __builtin_mul_overflow(operand.rows.count - 1, operand.rows.stride, &rows) ||
      __builtin_mul_overflow(operand.batches.count - 1, operand.batches.stride, &batches) ||
      __builtin_add_overflow(rows, batches, &sum) ||
      __builtin_add_overflow(sum, operand.columns, &sum);
  return overflows ? -1 : sum;
}

Status bind_layout(Shape shape, const std::int64_t (&layout)[4], Operand* operand) {
  const auto refusal = [&](const char* expected) {
    return Status(Code::kOutOfRange,
                  "The layout of " + quoted(*operand) + " must have " + expected);
  };
  const std::int64_t batch_rows = std::min(layout[2], shape.rows);
  if (shape.rows > 0 && (batch_rows < 1 || shape.rows % batch_rows != 0)) {
    return refusal("whole batches");
  }
  operand->offset = layout[0];
  operand->columns = shape.hidden_size;
  operand->rows = {batch_rows, layout[1]};
  operand->batches = {shape.rows == 0 ? 1 : shape.rows / batch_rows, layout[3]};
  // Normalise, so that layouts of the same rows compare equal: a level with one item gets a fixed
  // stride.
  if (operand->rows.count == 1) std::swap(operand->rows, operand->batches);
  if (operand->rows.count <= 1) operand->rows.stride = shape.hidden_size;
  if (operand->batches.count == 1) operand->batches.stride = 0;
  const std::int64_t elements = reach(*operand);
  if (elements < 0 || operand->offset > operand->length - elements) {
    return refusal("all rows inside the array");
  }
  return {};
}

Status check_rows_have_memory(const Operand& a, const Operand& b) {
  const auto rows_overlap = [](const Operand& operand) {
    return operand.row_count() > 0 && !operand.is_packed() && rows_meet(operand, 0);
  };
  if (!rows_overlap(a) || !rows_overlap(b)) return {};
  return {Code::kInvalidValue,
          "Without dx, the rows of " + quoted(a) + " and the rows of " + quoted(b) +
              " must not both overlap among themselves; copy one of them to a contiguous array"};
}

Status check_own_rows(const Operand& output) {
  if (output.row_count() == 0 || output.is_packed() || !rows_meet(output, 0)) return {};
  return {Code::kInvalidValue, "The rows of " + quoted(output) + " must not overlap"};
}

Status check_overlap(const Operand& output, const Operand& other, bool may_equal) {
  if (is_same(output, other)) return may_equal ? Status() : overlap_error(output, other, "");
  if (!share_elements(output, other)) return {};
  return overlap_error(output, other, may_equal ? " unless they are the same" : "");
}

}  // namespace rmsnorm::napi
