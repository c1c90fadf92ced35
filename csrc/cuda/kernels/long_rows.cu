// Rows too long for one block, in two passes over memory. In the first pass several blocks share a
// row: each writes the sums over its tiles, and then one block for each row adds these sums. The
// second pass is elementwise. LongParams (kernel_params.h) describes the sums and the launches.
#include "codes.cuh"
#include "gate.cuh"
#include "gradient.cuh"

namespace rmsnorm::cuda {
namespace {

// The first column of the thread's first pack in a split of the row. A split has every splits-th
// tile, from tile `split` on, so that the tree over its tiles is a subtree of the row's tree.
template <class T>
__device__ std::int64_t split_column(const RowThread<T>& me, std::int64_t split,
                                     std::int64_t splits) {
  return kTileColumns * (split + splits * me.group) + kPackColumns<T> * me.lane;
}

// Returns the halving tree over the `count` floats at `sums` to all threads, and overwrites `sums`.
// All threads of the block must call it. It begins and ends with a barrier.
__device__ float halved(float* sums, std::int64_t count) {
  __syncthreads();
  for (std::int64_t s = count / 2; s >= 1; s /= 2) {
    for (std::int64_t i = threadIdx.x; i < s; i += blockDim.x) sums[i] += sums[i + s];
    __syncthreads();
  }
  const float sum = sums[0];
  __syncthreads();
  return sum;
}

// fold_forward and fold_backward are launched twice: first over the splits of the rows, then over
// the rows. Grid: rows of the launch * splits in the first launch, rows of the launch in the
// second. Block: (threads, 1). Shared memory: a float for each tile group and each sum (one in
// forward, two in backward). The second launch adds the sums of the splits. If a row needs a
// rescaled pass, one block then folds all splits of the row again.

// Returns the sum of (x * factor)^2 over a split to all threads. All threads of the block must call
// it. With a residual, x is x + residual, which is stored in `sum`. With a gate before the norm, x
// is then multiplied by silu(gate).
template <class T, bool kIsGated, Access access>
__device__ float fold_split(const ForwardParams& params, const RowThread<T>& me, std::int64_t row,
                            std::int64_t first, float factor, float* shared) {
  const RowParams& common = params.common;
  const T* x_row = row_of<T>(params.x, row);
  Accumulators<T> accumulators{};
  const bool has_residual = params.residual.data != nullptr;
  const bool is_gated_before = kIsGated && common.gate_order == GateOrder::kBeforeNorm;
  if (has_residual || is_gated_before) {
    const T* residual_row = row_of<T>(params.residual, row);
    T* sum_row = row_of<T>(params.sum, row);
#pragma unroll 1
    for (int c = 0; c < kTilePacks; ++c) {
      const std::int64_t column = first + kAccumulators * c;
      Pack x = load<T, access>(x_row, column, common);
      if (has_residual) {
        x = sum_of_packs<T>(x, load<T, access>(residual_row, column, common));
        store<T, access>(sum_row, column, x, common);
      }
      Columns<T> input = unpack<T>(x);
      if (is_gated_before) {
        input = gated_x_of(input, silu(load_gate<T, access>(row, column, common)));
      }
      fold_square<T>(input * factor, accumulators);
    }
  } else {
    Pack x[kTilePacks];
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      x[c] = load<T, access>(x_row, first + kAccumulators * c, common);
    }
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) fold_square<T>(x[c], factor, accumulators);
  }
  float sums[] = {tile_sum<T>(accumulators)};
  row_sums(sums, me, shared, false);
  return sums[0];
}

template <class T, class W, int index, Access access>
__device__ void fold_forward(const LongParams<ForwardParams>& params) {
  extern __shared__ float shared[];
  const ForwardParams& forward = params.of_rows;
  const RowParams& common = forward.common;
  const RowThread<T> me;
  const std::int64_t row =
      params.first_row + (params.is_second_launch ? blockIdx.x : blockIdx.x / params.splits);
  std::int64_t split = params.is_second_launch ? params.splits : blockIdx.x % params.splits;
  const std::int64_t end = params.is_second_launch ? params.splits : split + 1;
  float* split_sums = params.sums + row * params.splits;
  float factor = 1.0f;
  float sum;
  for (bool is_again = false;; is_again = true) {
    for (; split < end; ++split) {
      const std::int64_t first = split_column(me, split, params.splits);
      const float split_sum =
          fold_split<T, index == kGated, access>(forward, me, row, first, factor, shared);
      if (threadIdx.x == 0) split_sums[split] = split_sum;
      if (params.is_second_launch) __syncthreads();
    }
    if (!params.is_second_launch) return;
    sum = halved(split_sums, params.splits);
    if (is_again) break;
    factor = rescale_factor(sum, common.eps);
    if (factor == 1.0f) break;
    split = 0;
  }
  if (threadIdx.x != 0) return;
  const float rstd = rescaled_rstd(sum, common.inverse_size, common.eps, factor);
  split_sums[0] = rstd;
  if (forward.rstd != nullptr) forward.rstd[row] = rstd;
}

template <class T, class W, int index, Access access>
__device__ void fold_backward(const LongParams<BackwardParams>& params) {
  extern __shared__ float shared[];
  const BackwardParams& backward = params.of_rows;
  const RowParams& common = backward.common;
  const RowThread<T> me;
  const std::int64_t row =
      params.first_row + (params.is_second_launch ? blockIdx.x : blockIdx.x / params.splits);
  std::int64_t split = params.is_second_launch ? params.splits : blockIdx.x % params.splits;
  const std::int64_t end = params.is_second_launch ? params.splits : split + 1;
  const bool needs_xx = backward.rstd == nullptr;
  const T* x_row = row_of<T>(backward.x, row);
  const T* dy_row = row_of<T>(backward.dy, row);
  float* xx_sums = params.sums + row * params.splits;
  float* gx_sums = xx_sums + common.rows * params.splits;
  BackwardFolds folds{params.is_second_launch && !needs_xx ? backward.rstd[row] : 0.0f};
  float sums[2];
  for (;;) {
    for (; split < end; ++split) {
      const std::int64_t first = split_column(me, split, params.splits);
      Accumulators<T> gx{};
      Accumulators<T> xx{};
      if constexpr (index == kGated) {
#pragma unroll 1
        for (int c = 0; c < kTilePacks; ++c) {
          const std::int64_t column = first + kAccumulators * c;
          const GatedGradient<T> gated(unpack<T>(load<T, access>(x_row, column, common)),
                                       unpack<T>(load<T, access>(dy_row, column, common)),
                                       silu(load_gate<T, access>(row, column, common)), common);
          fold_gradient<T, W, access>(gated.input, gated.dn, column, folds.factor, common, gx);
          fold_square<T>(gated.input * folds.factor, xx);
        }
      } else {
        Pack x[kTilePacks];
        Pack dy[kTilePacks];
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          x[c] = load<T, access>(x_row, first + kAccumulators * c, common);
          dy[c] = load<T, access>(dy_row, first + kAccumulators * c, common);
        }
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          fold_gradient<T, W, access>(x[c], dy[c], first + kAccumulators * c, folds.factor, common,
                                      gx);
          fold_square<T>(x[c], folds.factor, xx);
        }
      }
      sums[0] = tile_sum<T>(gx);
      sums[1] = tile_sum<T>(xx);
      row_sums(sums, me, shared, false);
      if (threadIdx.x == 0) {
        gx_sums[split] = sums[0];
        xx_sums[split] = sums[1];
      }
      if (params.is_second_launch) __syncthreads();
    }
    if (!params.is_second_launch) return;
    sums[0] = halved(gx_sums, params.splits);
    sums[1] = halved(xx_sums, params.splits);
    // All threads have the same sums, and so the same answer.
    const bool needs_pass = folds.needs_rescaled_pass(sums, needs_xx, common);
    if (folds.are_done(sums, needs_pass, needs_xx, common)) break;
    split = 0;
  }
  if (threadIdx.x != 0) return;
  xx_sums[0] = folds.rstd;
  gx_sums[0] = row_scale(sums[0], folds.factor, folds.rstd, common.inverse_size).cbar;
}

// A chunk is the part of a row that a block of scale_rows processes.
template <class T>
struct Chunk {
  static constexpr int kColumns = kLongThreads * kScalePacks * kPackColumns<T>;
  std::int64_t count;  // chunks of a row
  std::int64_t row;
  std::int64_t index;  // of this chunk in the row

  __device__ explicit Chunk(const LongParams<ForwardParams>& params)
      : count(ceil_div(params.of_rows.common.hidden_size, kColumns)),
        row(params.first_row + blockIdx.x / count),
        index(blockIdx.x % count) {}

  // The first column of the thread's i-th pack.
  __device__ std::int64_t column(int i) const {
    return index * kColumns + (kLongThreads * i + static_cast<int>(threadIdx.x)) * kPackColumns<T>;
  }
};

// scale_rows of quantised calls. If rows have their own scales, scale_rows is launched twice. The
// first launch writes the largest magnitude of each chunk, and the second writes the codes.
template <class T, class W, bool kIsGated, Access access>
__device__ void quantize_chunk(const LongParams<ForwardParams>& params, const Chunk<T>& chunk,
                               const T* x_row, float rstd) {
  __shared__ std::uint32_t of_warps[kLongThreads / kWarpLanes];
  const ForwardParams& forward = params.of_rows;
  const RowParams& common = forward.common;
  auto* const of_chunks =
      reinterpret_cast<std::uint32_t*>(params.sums + (common.rows + chunk.row) * params.splits);
  auto* const y_row = row_of<std::uint8_t>(forward.y, chunk.row);
  Quantizer quantizer(forward.quantization);
  std::uint32_t largest = 0;
  if (params.is_second_launch && has_own_scales(forward.quantization)) {
    for (std::int64_t i = threadIdx.x; i < chunk.count; i += kLongThreads) {
      largest = max(largest, of_chunks[i]);
    }
    largest = largest_of(largest, kLongThreads, of_warps);
    const float scale = scale_of(largest, forward.quantization);
    quantizer.set_scale(scale, largest);
    const bool is_first = chunk.index == 0 && threadIdx.x == 0;
    if (is_first && forward.scales != nullptr) forward.scales[chunk.row] = scale;
  }
#pragma unroll 1
  for (int i = 0; i < kScalePacks; ++i) {
    const std::int64_t column = chunk.column(i);
    WeightPack<T, W> weight;
    weight.load(column, common);
    const Pack x = load<T, access>(x_row, column, common);
    Columns<T> y;
    if constexpr (kIsGated) {
      const Columns<T> z = load_gate<T, access>(chunk.row, column, common);
      y = Rounding<T>{common.is_llama_order}(gated_y(unpack<T>(x), z, rstd, weight, common));
    } else {
      y = quantized_y<T>(x, rstd, weight, common);
    }
    if (params.is_second_launch) {
      store_codes<T, access>(y_row, column, quantizer.codes(y), common);
    } else {
      find_largest<T, access>(y, column, common, largest);
    }
  }
  if (params.is_second_launch) return;
  largest = largest_of(largest, kLongThreads, of_warps);
  if (threadIdx.x == 0) of_chunks[chunk.index] = largest;
}

// A chunk has at least as many columns as a split. So a row has no more chunks than splits, and
// of_chunks, of `splits` words, has room for all chunks.
static_assert(kScalePacks * kAccumulators >= kTileColumns);

// Grid: rows * ceil(packs of a row / (kLongThreads * kScalePacks)).
template <class T, class W, int index, Access access>
__device__ void scale_rows(const LongParams<ForwardParams>& params) {
  const ForwardParams& forward = params.of_rows;
  const RowParams& common = forward.common;
  const Chunk<T> chunk(params);
  const T* x_row = row_of<T>(forward.x, chunk.row);
  const float rstd = params.sums[chunk.row * params.splits];
  if (forward.quantization.is_wanted()) {
    quantize_chunk<T, W, index == kGated, access>(params, chunk, x_row, rstd);
    return;
  }
  T* y_row = row_of<T>(forward.y, chunk.row);
  // With a gate, one pack after another, because a gate takes many registers. Otherwise all at
  // once.
  constexpr int kAtOnce = index == kGated ? 1 : kScalePacks;
#pragma unroll 1
  for (int first = 0; first < kScalePacks; first += kAtOnce) {
    Pack x[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      x[i] = load<T, access>(x_row, chunk.column(first + i), common);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int64_t column = chunk.column(first + i);
      WeightPack<T, W> weight;
      weight.load(column, common);
      Pack y;
      if constexpr (index == kGated) {
        const Columns<T> z = load_gate<T, access>(chunk.row, column, common);
        y = pack(gated_y(unpack<T>(x[i]), z, rstd, weight, common));
      } else {
        y = y_pack<T>(x[i], rstd, weight, common);
      }
      store<T, access>(y_row, column, y, common);
    }
  }
}

// Grid: ceil(packs of a row / threads) * ceil(rows / group_rows). A thread processes one pack of
// columns of all rows of a row group. cbar is read only for dx, so a launch for dweight alone needs
// only rstd.
template <class T, class W, int index, Access access>
__device__ void backward_columns(const LongParams<BackwardParams>& params) {
  const BackwardParams& backward = params.of_rows;
  const RowParams& common = backward.common;
  const std::int64_t chunk_columns = static_cast<int>(blockDim.x) * kPackColumns<T>;
  const std::int64_t chunks = ceil_div(common.hidden_size, chunk_columns);
  const std::int64_t group = params.first_group + blockIdx.x / chunks;
  const std::int64_t column =
      blockIdx.x % chunks * chunk_columns + static_cast<int>(threadIdx.x) * kPackColumns<T>;
  if (column >= common.hidden_size) return;
  const std::int64_t begin = group * backward.group_rows;
  const std::int64_t end = min(begin + backward.group_rows, common.rows);
  const float* rstds = params.sums;
  const float* cbars = params.sums + common.rows * params.splits;
  WeightPack<T, W> weight;
  weight.load(column, common);

  Columns<T> dweight{};
  if constexpr (index == kGated) {
#pragma unroll 1
    for (std::int64_t row = begin; row < end; ++row) {
      const RowScale scale{rstds[row * params.splits], cbars[row * params.splits]};
      const Columns<T> x = unpack<T>(load<T, access>(row_of<T>(backward.x, row), column, common));
      const Columns<T> dy = unpack<T>(load<T, access>(row_of<T>(backward.dy, row), column, common));
      const Columns<T> z = load_gate<T, access>(row, column, common);
      const GatedGradient<T> gated(x, dy, silu(z), common);
      add_row<T>(gated.input, gated.dn, scale.rstd, common, dweight);
      if (backward.dx.data == nullptr) continue;
      store_gated<T, W, access>(backward, row, column, x, dy, z, weight, scale);
    }
  } else {
#pragma unroll 1
    for (std::int64_t first = begin; first < end; first += kColumnRows) {
      // All loads are in flight before the first pack is used.
      Pack x[kColumnRows];
      Pack dy[kColumnRows];
#pragma unroll
      for (int i = 0; i < kColumnRows; ++i) {
        if (first + i >= end) continue;
        x[i] = load<T, access>(row_of<T>(backward.x, first + i), column, common);
        dy[i] = load<T, access>(row_of<T>(backward.dy, first + i), column, common);
      }
#pragma unroll
      for (int i = 0; i < kColumnRows; ++i) {
        const std::int64_t row = first + i;
        if (row >= end) continue;
        const float rstd = rstds[row * params.splits];
        // dweight comes before dx, so that dx reuses xhat: 4 to 8% fewer instructions.
        add_row<T>(x[i], dy[i], rstd, common, dweight);
        if (backward.dx.data == nullptr) continue;
        const RowScale scale{rstd, cbars[row * params.splits]};
        store_dx<T, W, access>(backward, row, row_of<T>(backward.dx, row), column, x[i], dy[i],
                               weight, scale);
      }
    }
  }
  if (backward.partials != nullptr) {
    store_partial<T>(backward.partials + group * backward.partial_stride, column, dweight);
  }
}

}  // namespace

RMSNORM_LONG_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
