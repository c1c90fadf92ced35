// dweight from the partial rows of the row groups: the sum by neighbours (fold.h), the addition to
// the old dweight if the call accumulates, and the cast.
#include "kernel_params.h"
#include "kernel_table.h"
#include "primitives.cuh"

namespace rmsnorm::cuda {
namespace {

// The sum of `values` by neighbours (fold.h). Values that do not exist are -0, which changes no
// sum.
template <int kCount>
__device__ float sum_of(const float (&values)[kCount]) {
  return neighbour_tree(
      kCount, [&](int i) { return values[i]; },
      [](float left, float right) { return left + right; });
}

// Grid: ceil(hidden_size / kReduceColumns). Block: (kReduceColumns, slices of the row groups).
// Thread (i, s) sums slice s of the block's column i, so that a warp reads neighbouring columns.
// The first warp then adds the sums of the slices.
template <class T, class W, int index, Access access>
__device__ void reduce_dweight(const ReduceParams& params) {
  __shared__ float slices[kMaxSlices][kReduceColumns];
  const int x = static_cast<int>(threadIdx.x);
  const int slice = static_cast<int>(threadIdx.y);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kReduceColumns + x;
  const int first = slice * params.slice_groups;
  const int count = min(params.slice_groups, params.groups - first);

  float groups[kMaxSliceGroups];
#pragma unroll
  for (int i = 0; i < kMaxSliceGroups; ++i) {
    const bool is_leaf = i < count && column < params.hidden_size;
    groups[i] = is_leaf ? params.partials[(first + i) * params.partial_stride + column] : -0.0f;
  }
  if (count <= 0) groups[0] = 0.0f;  // with zero rows dweight is +0
  slices[slice][x] = sum_of(groups);
  __syncthreads();
  if (slice > 0 || column >= params.hidden_size) return;

  const int slice_count = static_cast<int>(ceil_div(params.groups, params.slice_groups));
  float sums[kMaxSlices];
#pragma unroll
  for (int i = 0; i < kMaxSlices; ++i) sums[i] = i == 0 || i < slice_count ? slices[i][x] : -0.0f;
  const float sum = sum_of(sums);
  T* dweight = static_cast<T*>(params.dweight) + column;
  *dweight = from_float(params.accumulate ? to_float(*dweight) + sum : sum, T{});
}

}  // namespace

RMSNORM_REDUCE_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
