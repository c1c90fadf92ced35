// dweight from the partial sums of the row groups: the neighbour-first tree (fold.h), the sum with
// what was there, and the cast.
#include "../kernel_params.h"
#include "../kernel_table.h"
#include "primitives.cuh"

namespace rmsnorm::cuda {
namespace {

constexpr int kPartGroups = static_cast<int>(kMaxRowGroups) / kFinishParts;
constexpr int kLevels = 4;
static_assert(1 << kLevels == kPartGroups);

// Grid: ceil(hidden_size / kFinishColumns). Block: (kFinishColumns, kFinishParts). Thread (i, part)
// sums the part-th aligned stretch of groups of column i, so that a warp reads neighbouring
// columns; then warp i sums the parts of column i.
template <class T>
__device__ void finish_dweight(const FinishParams& params) {
  __shared__ float parts[kFinishParts][kFinishColumns + 1];  // one more: no bank conflicts
  const int x = static_cast<int>(threadIdx.x);
  const int y = static_cast<int>(threadIdx.y);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kFinishColumns + x;
  const int part_groups =
      static_cast<int>(ceil_div(bit_ceil(params.groups), kFinishParts));  // a power of two

  const int first = y * part_groups;
  int count = min(part_groups, params.groups - first);
  float sums[kPartGroups];
#pragma unroll
  for (int i = 0; i < kPartGroups; ++i) {
    const bool is_leaf = i < count && column < params.hidden_size;
    sums[i] = is_leaf ? params.partials[(first + i) * params.partial_stride + column] : 0.0f;
  }
#pragma unroll
  for (int level = 1; level <= kLevels; ++level) {
#pragma unroll
    for (int i = 0; i < kPartGroups >> level; ++i) {
      const float sum = sums[2 * i] + sums[2 * i + 1];
      sums[i] = 2 * i + 1 < count ? sum : sums[2 * i];
    }
    count = (count + 1) / 2;
  }
  parts[y][x] = sums[0];
  __syncthreads();

  float sum = parts[x][y];
  count = static_cast<int>(ceil_div(params.groups, part_groups));
#pragma unroll
  for (int offset = 1; offset < kFinishParts; offset *= 2) {
    const float other = shuffle_down(sum, offset);
    if (x % (2 * offset) == 0 && x + offset < count) sum += other;
  }
  __syncthreads();
  if (x == 0) parts[0][y] = sum;
  __syncthreads();

  if (y == 0 && column < params.hidden_size) {
    T* dweight = static_cast<T*>(params.dweight) + column;
    const float total = parts[0][x];
    *dweight = from_float(params.accumulate ? to_float(*dweight) + total : total, T{});
  }
}

}  // namespace

#define KERNEL(tag, T, W, kind, function, index, access)                                          \
  extern "C" __global__ void __launch_bounds__(kFinishColumns* kFinishParts) RMSNORM_KERNEL_NAME( \
      tag, function, index, access)(const __grid_constant__ FinishParams params) {                \
    function<T>(params);                                                                          \
  }
RMSNORM_FINISH_KERNELS(KERNEL)

}  // namespace rmsnorm::cuda
