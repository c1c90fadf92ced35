// dweight from the partial rows of the row groups: the neighbour-first tree (fold.h), the addition
// to the old dweight if it accumulates, and the cast.
#include "kernel_params.h"
#include "kernel_table.h"
#include "primitives.cuh"

namespace rmsnorm::cuda {
namespace {

// The neighbour-first tree over values. Values that do not exist are -0, which changes no sum.
template <int kCount>
__device__ float sum_of(const float (&values)[kCount]) {
  return neighbour_tree(
      kCount, [&](int i) { return values[i]; },
      [](float left, float right) { return left + right; });
}

// Grid: ceil(hidden_size / kFinishColumns). Block: (kFinishColumns, parts of the tree). Thread (i,
// part) sums part number `part` of the groups of column i, so that a warp reads neighbouring
// columns. The first warp sums the parts.
template <class T, class W, int index, Access access>
__device__ void finish_dweight(const FinishParams& params) {
  __shared__ float parts[kMaxFinishParts][kFinishColumns];
  const int x = static_cast<int>(threadIdx.x);
  const int part = static_cast<int>(threadIdx.y);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kFinishColumns + x;
  const int first = part * params.part_groups;
  const int count = min(params.part_groups, params.groups - first);

  float groups[kMaxPartGroups];
#pragma unroll
  for (int i = 0; i < kMaxPartGroups; ++i) {
    const bool is_leaf = i < count && column < params.hidden_size;
    groups[i] = is_leaf ? params.partials[(first + i) * params.partial_stride + column] : -0.0f;
  }
  if (count <= 0) groups[0] = 0.0f;  // with zero rows dweight is +0
  parts[part][x] = sum_of(groups);
  __syncthreads();
  if (part > 0 || column >= params.hidden_size) return;

  const int part_count = static_cast<int>(ceil_div(params.groups, params.part_groups));
  float sums[kMaxFinishParts];
#pragma unroll
  for (int i = 0; i < kMaxFinishParts; ++i)
    sums[i] = i == 0 || i < part_count ? parts[i][x] : -0.0f;
  const float sum = sum_of(sums);
  T* dweight = static_cast<T*>(params.dweight) + column;
  *dweight = from_float(params.accumulate ? to_float(*dweight) + sum : sum, T{});
}

}  // namespace

RMSNORM_FINISH_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
