// Backward of fast calls (kernel_table.h), with the bits of backward_steps.cu and a third of its
// instructions. A block processes its rows one by one. dweight's sums and one row are in registers,
// while the next rows are being copied to shared memory.
#include "gradient.cuh"

namespace rmsnorm::cuda {
namespace {

// The pack from which the columns of g come while a row is in registers. If T holds g exactly
// (kIsPacked), this pack is g itself. Otherwise it is dy, and g is computed at each use.
template <class T, class W, bool kIsLlama>
struct Gradient {
  static constexpr bool kIsPacked = kIsLlama || sizeof(T) == sizeof(float);

  __device__ static Pack pack_of(const Pack& dy, const W* weights) {
    if constexpr (kIsPacked) {
      WeightPack<T, W> weight;
      weight.load_all(weights);
      return packed_g<T, kIsLlama>(dy, weight);
    } else {
      return dy;
    }
  }
  __device__ static Columns<T> columns(const Pack& pack, const W* weights) {
    if constexpr (kIsPacked) {
      return unpack<T>(pack);
    } else {
      WeightPack<T, W> weight;
      weight.load_all(weights);
      return g_of(unpack<T>(pack), weight.columns(), Rounding<T>{false});
    }
  }
};

// Grid: ceil(rows / group_rows). Block: the threads of one row. Shared memory: `stages` rows of x
// and dy, then two floats for each tile group. A row has one barrier, and one more if rstd is
// recomputed; rescaled passes have more.
template <class T, class W, int kTiles, bool kIsLlama>
__device__ void backward_fast(const BackwardParams& params) {
  if constexpr (RMSNORM_ARCHITECTURE < 10 * kFastBackwardArchitecture) return;
  using G = Gradient<T, W, kIsLlama>;
  extern __shared__ Pack memory[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const int row_elements = static_cast<int>(common.hidden_size);
  // Rows are whole tiles, but a thread may hold a tile that does not exist. It adds 0 to the sums.
  const auto has_tile = [&](int k) { return me.column(k, 0) < row_elements; };
  const auto at = [&](int k, int c) { return me.column(k, c) - me.first; };
  const auto byte_at = [&](int k, int c) {
    return static_cast<unsigned>(at(k, c)) * static_cast<unsigned>(sizeof(T));
  };

  int row = static_cast<int>(blockIdx.x * params.group_rows);
  int end = static_cast<int>(min(row + params.group_rows, common.rows));
  keep_number(end);
  // A stage has a row of x and one of dy. A thread reads only its own copies, without a barrier.
  const unsigned row_bytes = static_cast<unsigned>(row_elements * sizeof(T));
  const int stage_count = kTiles == 1 ? params.stages : 1;  // two tiles leave room for one stage
  unsigned stages = shared_address(memory) + me.first * static_cast<unsigned>(sizeof(T));
  keep_number(stages);
  const unsigned stages_end = stages + 2 * stage_count * row_bytes;
  float* const shared = reinterpret_cast<float*>(
      reinterpret_cast<char*>(memory) + 2 * static_cast<std::size_t>(stage_count) * row_bytes);
  // The thread's addresses in the next row to copy. With two tiles they would take too many
  // registers, so copy_row() computes them each time.
  const T* next_x = row_at<T>(params.x, row) + me.first;
  const T* next_dy = row_at<T>(params.dy, row) + me.first;
  const auto copy_row = [&](int copied, unsigned to) {
    if (copied < end) {
      const T* x = kTiles == 1 ? next_x : row_at<T>(params.x, copied) + me.first;
      const T* dy = kTiles == 1 ? next_dy : row_at<T>(params.dy, copied) + me.first;
#pragma unroll
      for (int k = 0; k < kTiles; ++k) {
        if (!has_tile(k)) continue;
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          copy_to_shared(to + byte_at(k, c), x + at(k, c));
          copy_to_shared(to + row_bytes + byte_at(k, c), dy + at(k, c));
        }
      }
      next_x += params.x.row_stride;
      next_dy += params.dy.row_stride;
    }
    end_copies();
  };
#pragma unroll 1
  for (int i = 0; i < stage_count; ++i) copy_row(row + i, stages + 2 * i * row_bytes);
  unsigned stage = stages;  // of the current row

  const W* weights = static_cast<const W*>(common.weight) + me.first;
  T* dx_row = row_at<T>(params.dx, row) + me.first;
  const bool has_rstd = params.rstd != nullptr;
  float next_rstd = has_rstd ? params.rstd[row] : 0.0f;
  int sums_offset = 0;  // of the next sums in shared memory, in floats
  bool may_overflow;
  // Returns the row sum of the products that add(k, c, accumulators) adds to the accumulators for
  // each pack. Sets may_overflow to whether may_overflow_of(own sum) is true in any thread.
  const auto fold_row = [&](const auto& add, const auto& may_overflow_of) {
    float tile_sums[kTiles];
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      Accumulators<T> accumulators{};
      if (has_tile(k)) {
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) add(k, c, accumulators);
      }
      tile_sums[k] = tile_sum<T>(accumulators);
    }
    float sums[] = {own_tiles_sum(tile_sums)};
    may_overflow = row_sums(sums, me, shared + sums_offset, may_overflow_of(sums[0]));
    sums_offset = me.groups - sums_offset;
    return sums[0];
  };
  Columns<T> dweight[kTiles][kTilePacks] = {};
#pragma unroll 1
  for (; row < end; ++row) {
    Pack x[kTiles][kTilePacks];
    Pack dy[kTiles][kTilePacks];  // later the result of Gradient::pack_of()
    await_copies(stage_count - 1);
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      if (!has_tile(k)) continue;
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        x[k][c] = load_shared_pack(stage + byte_at(k, c));
        dy[k][c] = load_shared_pack(stage + row_bytes + byte_at(k, c));
      }
    }
    float rstd = next_rstd;
    if (has_rstd && row + 1 < end) next_rstd = params.rstd[row + 1];
    if (!has_rstd) {
      float factor = 1.0f;
      float sum;
#pragma unroll 1
      for (bool is_again = false;; is_again = true) {
        sum = fold_row(
            [&](int k, int c, Accumulators<T>& accumulators) {
              keep_packed(x[k][c]);
              fold_square<T>(x[k][c], factor, accumulators);
            },
            [&](float own) { return may_overflow_square(own, common.eps); });
        if (is_again || !may_overflow) break;
        factor = rescale_factor(sum, common.eps);
      }
      rstd = rescaled_rstd(sum, common.inverse_size, common.eps, factor);
      if (params.saved_rstd != nullptr && threadIdx.x == 0) params.saved_rstd[row] = rstd;
    }

    float sum = fold_row(
        [&](int k, int c, Accumulators<T>& accumulators) {
          keep_packed(x[k][c]);
          keep_packed(dy[k][c]);
          const Columns<T> columns = unpack<T>(x[k][c]);
          dweight[k][c] = add_to_dweight(dweight[k][c], unpack<T>(dy[k][c]), xhat_of(columns, rstd),
                                         Rounding<T>{kIsLlama});
          dy[k][c] = G::pack_of(dy[k][c], weights + at(k, c));
          accumulators = fma(G::columns(dy[k][c], weights + at(k, c)), columns, accumulators);
        },
        [&](float own) { return may_overflow_product(own) || rstd > kLargeRstd; });
    copy_row(row + stage_count, stage);
    if constexpr (kTiles == 1) {
      stage += 2 * row_bytes;
      if (stage == stages_end) stage = stages;
    }
    float factor = 1.0f;
    if (may_overflow) {
      if (!is_gradient_sum_final(sum, rstd)) factor = power_of_two(rstd);
      sum = fold_row(
          [&](int k, int c, Accumulators<T>& accumulators) {
            keep_packed(x[k][c]);
            keep_packed(dy[k][c]);
            accumulators = fma(G::columns(dy[k][c], weights + at(k, c)),
                               unpack<T>(x[k][c]) * factor, accumulators);
          },
          [](float) { return false; });
    }

    if (params.dx.data == nullptr) continue;
    if constexpr (kTiles > 1) dx_row = row_at<T>(params.dx, row) + me.first;
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
  backward_fast<T, W, kFastBackwardPolicies[index].tiles, false>(params);
}
template <class T, class W, int index, Access access>
__device__ void backward_llama(const BackwardParams& params) {
  backward_fast<T, W, kFastBackwardPolicies[index].tiles, true>(params);
}

}  // namespace

RMSNORM_FAST_BACKWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
