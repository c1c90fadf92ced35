// Forward: a row is read once, stays in registers between its sum and its scaling, and is written
// once. With a residual, the row is x + residual, and that sum is written, too.
#include "codes.cuh"
#include "row.cuh"

namespace rmsnorm::cuda {
namespace {

// Stores the codes of y of a row. If the row has its own scale, y is computed twice, first to find
// its largest magnitude. Packs are processed one after another, because side by side they would
// take three times the code, and spill. All threads of the block must call it.
template <class T, class W>
__device__ void quantize_row(const ForwardParams& params, const RowThread<T>& me, std::int64_t row,
                             Pack (&x)[kTilePacks], float rstd, float* shared) {
  const RowParams& common = params.common;
  // A function, because with a variable one kernel would spill.
  const auto is_row = [&] { return row < common.rows; };
  auto* const y_row = row_of<std::uint8_t>(params.y, row);
  Quantizer quantizer(params.quantization);
  std::uint32_t largest = 0;
  bool is_search = has_own_scales(params.quantization);
  if (!is_search && !is_row()) return;
#pragma unroll 1
  for (;; is_search = false) {
#pragma unroll 1
    for (int c = 0; c < kTilePacks; ++c) {
      const int column = me.column(0, c);
      WeightPack<T, W> weight;
      weight.load(column, common);
      const Columns<T> y = quantized_y<T>(x[0], rstd, weight, common);
      if (is_search) {
        find_largest<T, Access::kPacks>(y, column, common, largest);
      } else {
        store_codes<T, Access::kPacks>(y_row, column, quantizer.codes(y), common);
      }
      rotate(x);
    }
    if (!is_search) return;
    auto* const of_warps = reinterpret_cast<std::uint32_t*>(shared) + threadIdx.y * me.groups;
    largest = largest_of(largest, static_cast<int>(blockDim.x), of_warps);
    if (!is_row()) return;
    const float scale = scale_of(largest, params.quantization);
    quantizer.set_scale(scale, largest);
    if (threadIdx.x == 0 && params.scales != nullptr) params.scales[row] = scale;
  }
}

// Grid: ceil((rows - first_row) / rows of a block). Shared memory: a float for each tile group of
// the block's rows, if a row is wider than a warp.
template <class T, class W, int index, Access access>
__device__ void forward_rows(const ForwardParams& params) {
  constexpr int kTiles = kForwardPolicies[index].tiles;
  extern __shared__ float shared[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const std::int64_t row =
      params.first_row + static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool is_row = row < common.rows;
  const T* x_row = row_of<T>(params.x, row);
  T* y_row = row_of<T>(params.y, row);

  Pack x[kTiles][kTilePacks];
#pragma unroll
  for (int k = 0; k < kTiles; ++k) {
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      x[k][c] = is_row ? load<T, access>(x_row, me.column(k, c), common) : Pack{};
    }
  }
  // How many packs of residual are in flight at once. More would take registers from other blocks.
  constexpr int kInFlight = access == Access::kUnaligned ? 1 : kTiles == 1 ? kTilePacks : 2;
  if (params.residual.data != nullptr && is_row) {
    const T* residual_row = row_of<T>(params.residual, row);
    T* sum_row = row_of<T>(params.sum, row);
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
#pragma unroll
      for (int first = 0; first < kTilePacks; first += kInFlight) {
        Pack residual[kInFlight];
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
          residual[i] = load<T, access>(residual_row, me.column(k, first + i), common);
        }
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
          Pack& sum = x[k][first + i];
          sum = sum_of_packs<T>(sum, residual[i]);
          store<T, access>(sum_row, me.column(k, first + i), sum, common);
        }
        forget_memory();
      }
    }
  }
  WeightPack<T, W> weight[kTilePacks];
  // If there are enough registers, weights are loaded before the row sum is known, so that they
  // arrive meanwhile.
  constexpr bool kHasWeightEarly = kTiles == 1 && __is_same(W, T);
  float factor = 1.0f;  // of x; not 1 in a rescaled pass (fold.h)
  float sums[1];
#pragma unroll 1
  for (bool is_again = false;; is_again = true) {
    float tile_sums[kTiles];
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      Accumulators<T> accumulators{};
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        keep_packed(x[k][c]);
        fold_square<T>(x[k][c], factor, accumulators);
      }
      tile_sums[k] = tile_sum<T>(accumulators);
    }
    if constexpr (kHasWeightEarly) {
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        weight[c].load(me.column(0, c), common);
        keep_packed(weight[c].packs[0]);  // otherwise each load waits for the one before
      }
    }
    sums[0] = own_tiles_sum(tile_sums);
    const bool may_overflow = row_sums(sums, me, shared, may_overflow_square(sums[0], common.eps));
    if (is_again || !may_overflow) break;
    factor = rescale_factor(sums[0], common.eps);
    if (me.is_wide()) __syncthreads();
  }
  const float rstd = rescaled_rstd(sums[0], common.inverse_size, common.eps, factor);
  if (is_row && threadIdx.x == 0 && params.rstd != nullptr) params.rstd[row] = rstd;
  if constexpr (quantizes(access, kTiles)) {
    if (params.quantization.is_wanted()) {
      quantize_row<T, W>(params, me, row, x[0], rstd, shared);
      return;
    }
  }
  if (!is_row) return;

  keep_address(y_row);
#pragma unroll
  for (int k = 0; k < kTiles; ++k) {
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      const int column = me.column(k, c);
      keep_packed(x[k][c]);
      if constexpr (!kHasWeightEarly) weight[c].load(column, common);
      store<T, access>(y_row, column, y_pack<T>(x[k][c], rstd, weight[c], common), common);
    }
  }
}

}  // namespace

RMSNORM_FORWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
