// Forward of fast calls (kernel_table.h), with the bits of forward.cu and half of its instructions.
// At run time it tests only whether a row exists, and whether a pack of its columns exists.
#include "row.cuh"

namespace rmsnorm::cuda {
namespace {

// Grid, block and shared memory: as for forward_rows, with first_row = 0.
template <class T, class W, int index, bool kIsLlama>
__device__ void forward_fast(const ForwardParams& params) {
  constexpr FastForwardPolicy kPolicy = kFastForwardPolicies[index];
  constexpr int kTiles = kPolicy.tiles;
  constexpr int kPacks = kPolicy.packs;
  constexpr int kAll = kTiles * kPacks;
  constexpr int kWeights = __is_same(T, W) ? kPolicy.weight_packs : kWideWeightPacks;
  extern __shared__ float shared[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  int row = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  // How many columns the row has from the thread's first column on. Packs beyond them are zeros,
  // and are not stored.
  int columns =
      (row < static_cast<int>(common.rows) ? static_cast<int>(common.hidden_size) : 0) - me.first;
  const auto at = [&](int i) { return me.column(i / kPacks, i % kPacks) - me.first; };
  const T* x_row = row_at<T>(params.x, row) + me.first;
  Pack x[kAll];
#pragma unroll
  for (int i = 0; i < kAll; ++i) x[i] = at(i) < columns ? load_pack(x_row + at(i)) : Pack{};

  // For packs beyond the row, the weights of the thread's first pack are loaded, or those of the
  // row's first pack if the thread has none. This saves the instructions that make zeros.
  const W* weights = static_cast<const W*>(common.weight) + (columns > 0 ? me.first : 0);
  WeightPack<T, W> weight[kWeights];
  const auto load_weight = [&](int i) {
    weight[i % kWeights].load_all(weights + (at(i) < columns ? at(i) : 0));
  };
#pragma unroll
  for (int i = 0; i < kWeights; ++i) load_weight(i);
  keep_number(columns);
  keep_number(row);

  float tile_sums[kTiles];
#pragma unroll
  for (int k = 0; k < kTiles; ++k) {
    Accumulators<T> accumulators{};
#pragma unroll
    for (int c = 0; c < kPacks; ++c) {
      Pack& pack = x[k * kPacks + c];
      keep_packed(pack);
      fold_square<T>(pack, accumulators);
    }
    tile_sums[k] = tile_sum<T>(accumulators);
  }
  float sums[] = {own_tiles_sum(tile_sums)};
  float rstd;
  if (row_sums(sums, me, shared, may_overflow_square(sums[0], common.eps))) {
    // The rescaled pass (fold.h). It reads the row from memory again: using the row in registers
    // here would cost every call registers.
    const float factor = rescale_factor(sums[0], common.eps);
    if (me.is_wide()) __syncthreads();
    const T* x_again = row_at<T>(params.x, row) + me.first;
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      Accumulators<T> accumulators{};
#pragma unroll 1
      for (int c = 0; c < kPacks; ++c) {
        if (at(k * kPacks + c) >= columns) break;
        fold_square<T>(load_pack(x_again + at(k * kPacks + c)), factor, accumulators);
      }
      tile_sums[k] = tile_sum<T>(accumulators);
    }
    sums[0] = own_tiles_sum(tile_sums);
    row_sums(sums, me, shared, false);
    rstd = rescaled_rstd(sums[0], common.inverse_size, common.eps, factor);
  } else {
    rstd = rstd_of(sums[0], common.inverse_size, common.eps);
  }
  if (columns <= 0) return;

  if (threadIdx.x == 0 && params.rstd != nullptr) params.rstd[row] = rstd;
  T* y_row = row_at<T>(params.y, row) + me.first;
  keep_address(y_row);
#pragma unroll
  for (int i = 0; i < kAll; ++i) {
    keep_packed(x[i]);
    const Pack y = y_pack<T, kIsLlama>(x[i], rstd, weight[i % kWeights]);
    if (at(i) < columns) store_global_pack(y_row + at(i), y);
    if (i + kWeights < kAll) load_weight(i + kWeights);
  }
}

template <class T, class W, int index, Access access>
__device__ void forward_float(const ForwardParams& params) {
  forward_fast<T, W, index, false>(params);
}
template <class T, class W, int index, Access access>
__device__ void forward_llama(const ForwardParams& params) {
  forward_fast<T, W, index, true>(params);
}

}  // namespace

RMSNORM_FAST_FORWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
