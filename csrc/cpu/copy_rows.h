// Copies rows of a matrix, on several threads where they are large.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../op/rms_norm.h"
#include "../op/status.h"
#include "schedule.h"
#include "thread_count.h"
#include "thread_pool.h"

namespace rmsnorm::cpu {

// Calls copy(packed, strided, bytes) for the pieces of `rows` rows of a matrix, from first_row on.
// `packed` is the offset of a piece in a buffer in which these rows follow one another without
// gaps. `strided` is its offset in the matrix. Offsets and the strides of the matrix are in bytes.
// Errors: kInvalidEnvironment (RMSNORM_NUM_THREADS).
template <class Matrix, class Copy>
Status copy_rows(const Matrix& matrix, std::int64_t row_bytes, std::int64_t first_row,
                 std::int64_t rows, const Copy& copy) {
  int available = 1;
  RMSNORM_TRY(thread_count(&available));
  const std::int64_t bytes = rows * row_bytes;
  // Rows without gaps can be split at any byte.
  const bool is_packed = matrix.batch_rows == kOneBatch && matrix.row_stride == row_bytes;
  const bool is_contiguous = rows == 1 || is_packed;
  const std::int64_t item = is_contiguous ? 1 : row_bytes;
  parallel_for(bytes / item, std::max<std::int64_t>(kBytesPerThread / item, 1),
               threads_for(bytes, available), [&](std::int64_t begin, std::int64_t end, int) {
                 if (is_contiguous)
                   return copy(begin, row_offset(matrix, first_row) + begin, end - begin);
                 for (std::int64_t r = begin; r < end; ++r) {
                   copy(r * item, row_offset(matrix, first_row + r), item);
                 }
               });
  return {};
}

}  // namespace rmsnorm::cpu
