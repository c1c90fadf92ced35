// Rows that no block holds, in two passes over memory: blocks leave sums over their tiles, one
// block a row sums these, and elementwise kernels do the rest.
#include "gradient.cuh"

namespace rmsnorm::cuda {
namespace {

// The part of a row that a block of the sums folds: every splits-th tile, from the block's own on,
// so that the tree over its tiles is a subtree of the row's.
template <class T>
struct RowPart {
  std::int64_t row;
  std::int64_t first;  // column of the thread's first pack

  __device__ RowPart(const RowThread<T>& me, std::int64_t splits) {
    row = blockIdx.x / splits;
    const std::int64_t split = blockIdx.x % splits;
    first = kTileColumns * (split + splits * me.group) + kPackColumns<T> * me.lane;
  }
};

// Both folds: grid rows * splits; block: (threads, 1); shared memory: a float for each tile group
// and sum.
template <class T, class W, Access access>
__device__ void fold_forward(const LongForwardParams& params) {
  extern __shared__ float shared[];
  const ForwardParams& forward = params.forward;
  const RowThread<T> me;
  const RowPart<T> part(me, params.splits);
  const T* x_row = row_of<T>(forward.x, part.row);
  Accumulators<T> accumulators{};
  if (forward.residual.data != nullptr) {
    const T* residual_row = row_of<T>(forward.residual, part.row);
    T* sum_row = row_of<T>(forward.residual_out, part.row);
#pragma unroll 1
    for (int c = 0; c < kTilePacks; ++c) {
      const std::int64_t column = part.first + kAccumulators * c;
      const Pack sum = sum_of_packs<T>(load<T, access>(x_row, column, forward.common),
                                       load<T, access>(residual_row, column, forward.common));
      store<T, access>(sum_row, column, sum, forward.common);
      fold_square<T>(sum, accumulators);
    }
  } else {
    Pack x[kTilePacks];
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      x[c] = load<T, access>(x_row, part.first + kAccumulators * c, forward.common);
    }
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) fold_square<T>(x[c], accumulators);
  }
  float sums[] = {tile_sum<T>(accumulators)};
  row_sums(sums, me, shared);
  if (threadIdx.x == 0) params.sums[blockIdx.x] = sums[0];
}

template <class T, class W, Access access>
__device__ void fold_backward(const LongBackwardParams& params) {
  extern __shared__ float shared[];
  const BackwardParams& backward = params.backward;
  const RowParams& common = backward.common;
  const RowThread<T> me;
  const RowPart<T> part(me, params.splits);
  const T* x_row = row_of<T>(backward.x, part.row);
  const T* dy_row = row_of<T>(backward.dy, part.row);
  Pack x[kTilePacks];
  Pack dy[kTilePacks];
#pragma unroll
  for (int c = 0; c < kTilePacks; ++c) {
    x[c] = load<T, access>(x_row, part.first + kAccumulators * c, common);
    dy[c] = load<T, access>(dy_row, part.first + kAccumulators * c, common);
  }
  Accumulators<T> gx{};
  Accumulators<T> xx{};
#pragma unroll
  for (int c = 0; c < kTilePacks; ++c) {
    fold_gradient<T, W, access>(x[c], dy[c], part.first + kAccumulators * c, common, gx);
    fold_square<T>(x[c], xx);
  }
  float sums[] = {tile_sum<T>(gx), tile_sum<T>(xx)};
  row_sums(sums, me, shared);
  if (threadIdx.x == 0) {
    params.sums[blockIdx.x] = sums[1];
    params.sums[common.rows * params.splits + blockIdx.x] = sums[0];
  }
}

// The halving tree over the `count` floats at `sums`, left in the first. All threads of the block
// call it; it ends with a barrier.
__device__ void halve(float* sums, std::int64_t count) {
  for (std::int64_t s = count / 2; s >= 1; s /= 2) {
    for (std::int64_t i = threadIdx.x; i < s; i += blockDim.x) sums[i] += sums[i + s];
    __syncthreads();
  }
}

// Grid: rows. Block: kLongThreads.
template <class T, class W, Access access>
__device__ void finish_row_sums(const RowSumsParams& params) {
  const RowParams& common = params.common;
  const std::int64_t row = blockIdx.x;
  float* xx_sums = params.sums + row * params.splits;
  float* gx_sums = xx_sums + common.rows * params.splits;
  if (params.given_rstd == nullptr) halve(xx_sums, params.splits);
  if (params.is_backward) halve(gx_sums, params.splits);
  if (threadIdx.x != 0) return;

  const float rstd = params.given_rstd == nullptr
                         ? rstd_of(xx_sums[0], common.inverse_size, common.eps)
                         : params.given_rstd[row];
  xx_sums[0] = rstd;
  if (params.is_backward) gx_sums[0] = row_scale(gx_sums[0], rstd, common.inverse_size).cbar;
  if (params.rstd != nullptr) params.rstd[row] = rstd;
}

// Grid: rows * ceil(packs of a row / (kLongThreads * kScalePacks)).
template <class T, class W, Access access>
__device__ void scale_rows(const LongForwardParams& params) {
  const ForwardParams& forward = params.forward;
  const RowParams& common = forward.common;
  const std::int64_t chunk_columns = kLongThreads * kScalePacks * kPackColumns<T>;
  const std::int64_t chunks = ceil_div(common.hidden_size, chunk_columns);
  const std::int64_t row = blockIdx.x / chunks;
  const std::int64_t first = blockIdx.x % chunks * chunk_columns;
  const T* x_row = row_of<T>(forward.x, row);
  T* y_row = row_of<T>(forward.y, row);
  const float rstd = params.sums[row * params.splits];

  Pack x[kScalePacks];
  const auto column = [&](int i) {
    return first + (kLongThreads * i + static_cast<int>(threadIdx.x)) * kPackColumns<T>;
  };
#pragma unroll
  for (int i = 0; i < kScalePacks; ++i) x[i] = load<T, access>(x_row, column(i), common);
#pragma unroll
  for (int i = 0; i < kScalePacks; ++i) {
    WeightPack<T, W> weight;
    weight.load(column(i), common);
    float w[kPackColumns<T>];
    add_offset(weight, common, w);
    store<T, access>(y_row, column(i), scale_pack<T>(x[i], rstd, w, common), common);
  }
}

// Grid: ceil(packs of a row / kLongThreads) * ceil(rows / group_rows): a thread takes a pack
// of columns down a row group.
template <class T, class W, Access access>
__device__ void backward_columns(const LongBackwardParams& params) {
  const BackwardParams& backward = params.backward;
  const RowParams& common = backward.common;
  const std::int64_t chunk_columns = kLongThreads * kPackColumns<T>;
  const std::int64_t chunks = ceil_div(common.hidden_size, chunk_columns);
  const std::int64_t group = blockIdx.x / chunks;
  const std::int64_t column =
      blockIdx.x % chunks * chunk_columns + static_cast<int>(threadIdx.x) * kPackColumns<T>;
  if (column >= common.hidden_size) return;
  const std::int64_t begin = group * backward.group_rows;
  const std::int64_t end = min(begin + backward.group_rows, common.rows);
  const float* rstds = params.sums;
  const float* cbars = params.sums + common.rows * params.splits;
  WeightPack<T, W> weight;
  weight.load(column, common);

  float dweight[kPackColumns<T>] = {};
#pragma unroll 2
  for (std::int64_t row = begin; row < end; ++row) {
    const Pack x = load<T, access>(row_of<T>(backward.x, row), column, common);
    const Pack dy = load<T, access>(row_of<T>(backward.dy, row), column, common);
    const RowScale scale{rstds[row * params.splits], cbars[row * params.splits]};
    if (backward.dx.data != nullptr) {
      store_dx<T, W, access>(backward, row, row_of<T>(backward.dx, row), column, x, dy, weight,
                             scale);
    }
    add_row<T>(x, dy, scale.rstd, common, dweight);
  }
  if (backward.partials != nullptr) {
    store_partial<T>(backward.partials + group * backward.partial_stride, column, dweight);
  }
}

// The parameters of a kernel's function.
template <class Params>
Params params_of(void (&)(const Params&));

}  // namespace

#define KERNEL(tag, T, W, kind, function, index, access)                                          \
  extern "C" __global__ void __launch_bounds__(kLongThreads, kLongMinBlocks) RMSNORM_KERNEL_NAME( \
      tag, function, index, access)(const __grid_constant__ decltype(params_of(                   \
      function<T, W, RMSNORM_ACCESS_##access>)) params) {                                         \
    function<T, W, RMSNORM_ACCESS_##access>(params);                                              \
  }
RMSNORM_LONG_KERNELS(KERNEL)

}  // namespace rmsnorm::cuda
