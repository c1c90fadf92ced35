// How kernels access rows in memory: the width of accesses, and the addresses of rows in batches.
// Pure functions, like the choice of kernels (cuda_policy_test.cc).

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "cuda/kernels/matrix.h"
#include "cuda/launch/policy.h"
#include "op/fold.h"

namespace rmsnorm::cuda {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// An address that is never dereferenced.
const void* address(std::int64_t bytes) { return reinterpret_cast<const void*>(bytes); }

TEST_CASE("cuda policy: accesses are as wide as every row and the weight allow") {
  const auto widest = [](std::initializer_list<std::int64_t> multiples) {
    int access = 16;
    for (const std::int64_t value : multiples) {
      while (value % access != 0) access /= 2;
    }
    return access;
  };
  for (const DType dtype : kDTypes) {
    const std::int64_t size = element_size(dtype);
    for (std::int64_t x = 0; x <= 8; ++x) {
      for (std::int64_t stride = 256; stride <= 264; ++stride) {
        for (std::int64_t y = 0; y <= 8; ++y) {
          ForwardArgs args{{4, 256}, {}, dtype, {}, {}, {}, nullptr};
          args.x = {address(4096 + x * size), stride};
          args.y = {const_cast<void*>(address(8192 + y * size)), 256};
          const int access = widest({x * size, stride * size, y * size});
          if (Call::of(args).access_bytes != access) FAIL(access << " bytes of " << x);
          args.weight = {address(512 + 4), DType::kFloat32};
          const int below_packs = std::min(access, 8);
          if (Call::of(args).access_bytes != below_packs) FAIL("a weight off the packs");
        }
      }
    }
    BackwardArgs args{{4, 256}, {}, dtype, {}, {}, {}, nullptr, {}, nullptr, dtype, false};
    args.dy = {address(4096), 256};
    args.x = {address(8192), 256};
    CHECK(Call::of(args).access_bytes == 16);  // without weight and dx
    args.dx = {const_cast<void*>(address(16 + size)), 256};
    CHECK(Call::of(args).access_bytes == size);
    args.dx = {const_cast<void*>(address(16)), 256};
    args.dy.row_stride = 257;
    CHECK(Call::of(args).access_bytes == size);
    args.dy.row_stride = 256;
    args.dsum = {address(32 + size), 256};
    CHECK(Call::of(args).access_bytes == size);
    args.dsum = {};
    args.shape.hidden_size = 255;
    CHECK(Call::of(args).access_bytes == size);
  }
}

TEST_CASE("cuda policy: accesses of codes have as many columns as those of x") {
  for (const DType dtype : kDTypes) {
    const std::int64_t size = element_size(dtype);
    for (std::int64_t x = 0; x <= 8; ++x) {
      for (std::int64_t y = 0; y <= 16; ++y) {
        for (std::int64_t stride = 256; stride <= 264; ++stride) {
          ForwardArgs args{{4, 256}, {}, dtype, {}, {}, {}, nullptr};
          args.x = {address(4096 + x * size), 256};
          args.weight = {address(512), dtype};
          args.y = {const_cast<void*>(address(8192 + y)), stride};
          args.quantization.codes = DType::kFloat8E4M3;
          int columns = static_cast<int>(16 / size);
          while (x % columns != 0 || y % columns != 0 || stride % columns != 0) columns /= 2;
          const Call call = Call::of(args);
          if (call.access_bytes != columns * size) FAIL(columns << " columns of " << x);
          if (call.is_fast) FAIL("a quantised call is fast");
          const bool is_resident = configure_forward(call).kernel != nullptr;
          if (is_resident != (call.access_bytes == 16)) FAIL("a kernel without codes");
        }
      }
    }
  }
}

TEST_CASE("cuda policy: only strides that some row uses limit the accesses") {
  ForwardArgs args{{6, 256}, {}, DType::kFloat32, {}, {}, {}, nullptr};
  args.x = {address(4096), 256};
  args.y = {const_cast<void*>(address(8192)), 256};
  const auto access_of = [&](std::int64_t row_stride, std::int64_t batch_rows,
                             std::int64_t batch_stride) {
    args.residual = {address(256), row_stride, batch_rows, batch_stride};
    return Call::of(args).access_bytes;
  };
  CHECK(access_of(256, 3, 1024) == 16);
  CHECK(access_of(256, 3, 1026) == 8);
  CHECK(access_of(257, 3, 1024) == 4);
  CHECK(access_of(257, 1, 1024) == 16);  // every row is a batch
  CHECK(access_of(256, 6, 1025) == 16);  // one batch
  CHECK(access_of(256, 7, 1025) == 16);
  CHECK(access_of(256, 3, 0) == 16);
}

// The offset of a row, by the kernels' arithmetic.
std::int64_t kernel_offset(const ConstMatrix& matrix, std::int64_t row) {
  const std::int64_t batch = matrix.batch_rows.quotient(row);
  return batch * matrix.batch_stride + (row - batch * matrix.batch_rows.value) * matrix.row_stride;
}

TEST_CASE("cuda policy: rows in batches have the operator's offsets, up to the last row") {
  const std::int64_t last = kMaxBatchedRows - 1;
  std::vector<std::int64_t> sizes{1, 2, 3, 5, 6, 7, 24, 641, 1000, 65535, 1000003, last};
  for (int bit = 1; bit < 31; ++bit) {
    for (const int off : {-1, 0, 1}) sizes.push_back((std::int64_t{1} << bit) + off);
  }
  for (const std::int64_t size : sizes) {
    // The batch stride is not batch_rows * row_stride, which would merge all batches into one.
    const ConstRows rows{address(16), 3, size, 3 * size + 5};
    const ConstMatrix matrix = kernel_matrix(rows, kMaxBatchedRows);
    std::vector<std::int64_t> numbers{0, 1, last / 2, last - 1, last};
    for (const std::int64_t quotient :
         {std::int64_t{1}, std::int64_t{2}, last / 2 / size, last / size - 1, last / size}) {
      for (const int off : {-1, 0, 1}) numbers.push_back(quotient * size + off);
    }
    for (const std::int64_t row : numbers) {
      if (row < 0 || row > last) continue;
      if (kernel_offset(matrix, row) != row_offset(rows, row)) FAIL(row << " in " << size);
    }
  }
  // A single batch may have any number of rows.
  const std::int64_t rows = std::int64_t{1} << 40;
  for (const ConstRows& one : {ConstRows{address(16), 3}, ConstRows{address(16), 3, rows, 7},
                               ConstRows{address(16), 3, 5, 15}, ConstRows{address(16), 9, 1, 3}}) {
    const ConstMatrix matrix = kernel_matrix(one, rows);
    CHECK(matrix.batch_rows.multiplier == 0);
    CHECK(kernel_offset(matrix, rows - 1) == 3 * (rows - 1));
  }
  CHECK(kernel_matrix(ConstRows{nullptr, 3, 4, 13}, 100).row_stride == 0);
}

}  // namespace
}  // namespace rmsnorm::cuda
