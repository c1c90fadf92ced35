// Backward of plain calls (kernel_table.h), with the bits of backward_steps.cu and a third of its
// instructions: a block takes the rows of its group one by one, with dweight's sums and one row in
// registers, while the next rows are on their way to shared memory.
#include "gradient.cuh"

namespace rmsnorm::cuda {
namespace {

// A pack of g for as long as its row is in registers: g itself where it is of T, else dy, of which
// and of the weight it is made again each time.
template <class T, class W, bool kIsLlama>
struct Gradient {
  static constexpr bool kIsPacked = kIsLlama || sizeof(T) == sizeof(float);

  __device__ static Pack keep(const Pack& dy, const W* weights) {
    if constexpr (kIsPacked) {
      WeightPack<T, W> weight;
      weight.load_all(weights);
      return packed_g<T, kIsLlama>(dy, weight);
    } else {
      return dy;
    }
  }
  __device__ static Columns<T> columns(const Pack& kept, const W* weights) {
    if constexpr (kIsPacked) {
      return unpack<T>(kept);
    } else {
      WeightPack<T, W> weight;
      weight.load_all(weights);
      return g_of(unpack<T>(kept), weight.columns(), Rounding<T>{false});
    }
  }
};

// Grid: ceil(rows / group_rows). Block: the threads of one row. Shared memory: `stages` rows of x
// and dy, then two floats for each tile group. One barrier a row, and one more where rstd is
// recomputed.
template <class T, class W, int kTiles, bool kIsLlama>
__device__ void backward_plain(const BackwardParams& params) {
  if constexpr (RMSNORM_ARCHITECTURE < 10 * kPlainBackwardArchitecture) return;
  using G = Gradient<T, W, kIsLlama>;
  extern __shared__ Pack memory[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const int row_elements = static_cast<int>(common.hidden_size);
  // Rows are whole tiles. A thread brings zeros to the sums for one that is not there.
  const auto has_tile = [&](int k) { return me.column(k, 0) < row_elements; };
  const auto at = [&](int k, int c) { return me.column(k, c) - me.first; };

  int row = static_cast<int>(blockIdx.x * params.group_rows);
  int end = static_cast<int>(min(row + params.group_rows, common.rows));
  keep_number(end);
  // A stage has a row of x and one of dy. A thread reads what it copied itself, without a barrier.
  T* const stages = reinterpret_cast<T*>(memory) + me.first;
  const int stage_elements = 2 * row_elements;
  const int stage_count = kTiles == 1 ? params.stages : 1;  // rows of two tiles leave room for one
  const int all_elements = stage_count * stage_elements;
  float* const shared = reinterpret_cast<float*>(reinterpret_cast<T*>(memory) + all_elements);
  const auto copy_row = [&](int copied, T* x) {
    if (copied < end) {
      T* dy = x + row_elements;
      keep_address(dy);
      const T* from_x = row_at<T>(params.x, copied) + me.first;
      const T* from_dy = row_at<T>(params.dy, copied) + me.first;
#pragma unroll
      for (int k = 0; k < kTiles; ++k) {
        if (!has_tile(k)) continue;
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          copy_to_shared(x + at(k, c), from_x + at(k, c));
          copy_to_shared(dy + at(k, c), from_dy + at(k, c));
        }
      }
    }
    end_copies();
  };
#pragma unroll 1
  for (int i = 0; i < stage_count; ++i) copy_row(row + i, stages + i * stage_elements);
  int stage = 0;  // where the row's begins

  const W* weights = static_cast<const W*>(common.weight) + me.first;
  T* dx_row = params.dx.data == nullptr ? nullptr : row_at<T>(params.dx, row) + me.first;
  float next_rstd = params.rstd == nullptr ? 0.0f : params.rstd[row];
  int place = 0;  // of the next sums in shared memory
  bool may_overflow;
  // The sum over the row from sums over the thread's tiles, and whether any thread may overflow.
  const auto row_sum = [&](float(&tile_sums)[kTiles], const auto& may_overflow_of) {
    float sums[] = {own_tiles_sum(tile_sums)};
    may_overflow = row_sums(sums, me, shared + place, may_overflow_of(sums[0]));
    place = me.groups - place;
    return sums[0];
  };
  Columns<T> dweight[kTiles][kTilePacks] = {};
#pragma unroll 1
  for (; row < end; ++row) {
    Pack x[kTiles][kTilePacks];
    Pack dy[kTiles][kTilePacks];  // then what Gradient keeps
    await_copies(stage_count - 1);
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      if (!has_tile(k)) continue;
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        x[k][c] = load_pack(stages + stage + at(k, c));
        dy[k][c] = load_pack(stages + stage + row_elements + at(k, c));
      }
    }
    float tile_sums[kTiles];
    float rstd = next_rstd;
    if (params.rstd == nullptr) {
      float factor = 1.0f;
      float sum;
#pragma unroll 1
      for (bool is_again = false;; is_again = true) {
#pragma unroll
        for (int k = 0; k < kTiles; ++k) {
          Accumulators<T> accumulators{};
          if (has_tile(k)) {
#pragma unroll
            for (int c = 0; c < kTilePacks; ++c) {
              keep_packed(x[k][c]);
              fold_square<T>(x[k][c], factor, accumulators);
            }
          }
          tile_sums[k] = tile_sum<T>(accumulators);
        }
        sum = row_sum(tile_sums, [&](float sum) { return may_overflow_square(sum, common.eps); });
        if (is_again || !may_overflow) break;
        factor = rescale_factor(sum, common.eps);
      }
      rstd = rescaled_rstd(sum, common.inverse_size, common.eps, factor);
      if (params.saved_rstd != nullptr && threadIdx.x == 0) params.saved_rstd[row] = rstd;
    } else if (row + 1 < end) {
      next_rstd = params.rstd[row + 1];
    }

#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      Accumulators<T> accumulators{};
      if (has_tile(k)) {
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          keep_packed(x[k][c]);
          keep_packed(dy[k][c]);
          const Columns<T> columns = unpack<T>(x[k][c]);
          dweight[k][c] = add_to_dweight(dweight[k][c], unpack<T>(dy[k][c]), xhat_of(columns, rstd),
                                         Rounding<T>{kIsLlama});
          dy[k][c] = G::keep(dy[k][c], weights + at(k, c));
          accumulators = fma(G::columns(dy[k][c], weights + at(k, c)), columns, accumulators);
        }
      }
      tile_sums[k] = tile_sum<T>(accumulators);
    }
    float sum = row_sum(tile_sums,
                        [&](float sum) { return may_overflow_product(sum) || rstd > kLargeRstd; });
    copy_row(row + stage_count, stages + stage);
    if constexpr (kTiles == 1) {
      stage += stage_elements;
      if (stage == all_elements) stage = 0;
    }
    float factor = 1.0f;
    if (may_overflow) {
      if (!gradient_fold_stands(sum, rstd)) factor = power_of_two(rstd);
#pragma unroll
      for (int k = 0; k < kTiles; ++k) {
        Accumulators<T> accumulators{};
        if (has_tile(k)) {
#pragma unroll
          for (int c = 0; c < kTilePacks; ++c) {
            keep_packed(x[k][c]);
            keep_packed(dy[k][c]);
            accumulators = fma(G::columns(dy[k][c], weights + at(k, c)),
                               unpack<T>(x[k][c]) * factor, accumulators);
          }
        }
        tile_sums[k] = tile_sum<T>(accumulators);
      }
      sum = row_sum(tile_sums, [](float) { return false; });
    }

    if (dx_row == nullptr) continue;
    const RowScale scale = row_scale(sum, factor, rstd, common.inverse_size);
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      if (!has_tile(k)) continue;
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        keep_packed(x[k][c]);
        keep_packed(dy[k][c]);
        const Columns<T> g = G::columns(dy[k][c], weights + at(k, c));
        const Columns<T> xhat = xhat_of(unpack<T>(x[k][c]), scale.rstd);
        store_global_pack(dx_row + at(k, c), pack(dx_of(g, xhat, scale.rstd, -scale.cbar)));
      }
    }
    dx_row += params.dx.row_stride;
  }

  if (params.partials == nullptr) return;
  float* partial_row = params.partials + blockIdx.x * params.partial_stride;
#pragma unroll
  for (int k = 0; k < kTiles; ++k) {
    if (!has_tile(k)) continue;
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      store_partial<T>(partial_row, me.column(k, c), dweight[k][c]);
    }
  }
}

template <class T, class W, int index, Access access>
__device__ void backward_float(const BackwardParams& params) {
  backward_plain<T, W, kPlainBackwardPolicies[index].tiles, false>(params);
}
template <class T, class W, int index, Access access>
__device__ void backward_llama(const BackwardParams& params) {
  backward_plain<T, W, kPlainBackwardPolicies[index].tiles, true>(params);
}

}  // namespace

RMSNORM_PLAIN_BACKWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
