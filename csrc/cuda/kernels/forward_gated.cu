// Forward with a gate. A row and its gate are read once, and stay in registers from the sum of
// squares until y is written. With a residual, the row is x + residual, which is also written to
// params.sum.
#include "gate.cuh"

namespace rmsnorm::cuda {
namespace {

// A pack (16 bytes) of a row, and of its gate. If the gate is applied before the norm, multiply()
// writes x * silu(gate) in float32 over x and, for 16-bit types, over gate. So the product takes no
// registers of its own.
template <class T>
struct GatedPack {
  Pack x;
  Pack gate;

  __device__ void multiply() {
    const Columns<T> product = gated_x_of(unpack<T>(x), silu(unpack<T>(gate)));
    const float* four = product.values;
    x = pack(Columns<float>{four[0], four[1], four[2], four[3]});
    if constexpr (sizeof(T) == 2) {
      four += 4;
      gate = pack(Columns<float>{four[0], four[1], four[2], four[3]});
    }
  }

  __device__ Columns<T> product() const {
    Columns<T> columns;
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      columns.values[i] = unpack<float>(i < 4 ? x : gate).values[i % 4];
    }
    return columns;
  }
};

// Grid: ceil((rows - first_row) / rows of a block). Shared memory, if a row takes more threads than
// a warp has: rows of a block x tile groups of a row (row.cuh) floats. The loops with silu are not
// unrolled, because its code is long: rotate() lets them use packs[0] only.
template <class T, class W, int index, Access access>
__device__ void forward_gated(const ForwardParams& params) {
  static_assert(kGatedPolicies[index].tiles == 1);
  extern __shared__ float shared[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const std::int64_t row =
      params.first_row + static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool is_row = row < common.rows;
  const bool is_before = common.gate_order == GateOrder::kBeforeNorm;

  GatedPack<T> packs[kTilePacks] = {};
  if (is_row) {
    const T* x_row = row_of<T>(params.x, row);
    const T* gate_row = row_of<T>(common.gate, row);
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      packs[c].x = load<T, access>(x_row, me.column(0, c), common);
      packs[c].gate = load<T, access>(gate_row, me.column(0, c), common);
    }
    if (params.residual.data != nullptr) {
      const T* residual_row = row_of<T>(params.residual, row);
      T* sum_row = row_of<T>(params.sum, row);
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        const int column = me.column(0, c);
        Pack& x = packs[c].x;
        x = sum_of_packs<T>(x, load<T, access>(residual_row, column, common));
        store<T, access>(sum_row, column, x, common);
      }
    }
  }
  if (is_before) {
#pragma unroll 1
    for (int c = 0; c < kTilePacks; ++c) {
      packs[0].multiply();
      rotate(packs);
    }
  }

  float factor = 1.0f;  // of the norm's input; not 1 in a rescaled pass (fold.h)
  float sums[1];
#pragma unroll 1
  for (bool is_again = false;; is_again = true) {
    Accumulators<T> accumulators{};
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      keep_packed(packs[c].x);
      const Columns<T> input = is_before ? packs[c].product() : unpack<T>(packs[c].x);
      fold_square<T>(input * factor, accumulators);
    }
    sums[0] = tile_sum<T>(accumulators);
    const bool may_overflow = row_sums(sums, me, shared, may_overflow_square(sums[0], common.eps));
    if (is_again || !may_overflow) break;
    factor = rescale_factor(sums[0], common.eps);
    if (me.is_wide()) __syncthreads();
  }
  const float rstd = rescaled_rstd(sums[0], common.inverse_size, common.eps, factor);
  if (!is_row) return;
  if (threadIdx.x == 0 && params.rstd != nullptr) params.rstd[row] = rstd;

  T* y_row = row_of<T>(params.y, row);
  const Rounding<T> round{common.is_llama_order};
#pragma unroll 1
  for (int c = 0; c < kTilePacks; ++c) {
    const int column = me.column(0, c);
    WeightPack<T, W> weight;
    weight.load(column, common);
    Columns<T> y;
    if (is_before) {
      y = y_of(xhat_of(packs[0].product(), rstd), w_of(weight, common), round);
    } else {
      const Columns<T> s = silu(unpack<T>(packs[0].gate));
      y = gated_y_of(xhat_of(unpack<T>(packs[0].x), rstd), w_of(weight, common), s, round);
    }
    store<T, access>(y_row, column, pack(y), common);
    rotate(packs);
  }
}

}  // namespace

RMSNORM_GATED_FORWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
