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
template <class T, class W, int index, bool kIsLlama>
__device__ void backward_plain(const BackwardParams& params) {
  if constexpr (RMSNORM_ARCHITECTURE < 10 * kPlainBackwardArchitecture) return;
  using G = Gradient<T, W, kIsLlama>;
  extern __shared__ Pack memory[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const int row_elements = static_cast<int>(common.hidden_size);
  // Rows are whole tiles. A thread without one brings zeros to the sums, and does nothing else.
  const bool has_tile = me.first < row_elements;
  const auto at = [](int c) { return static_cast<int>(kAccumulators) * c; };

  int row = static_cast<int>(blockIdx.x * params.group_rows);
  int end = static_cast<int>(min(row + params.group_rows, common.rows));
  keep_number(end);
  // A stage has a row of x and one of dy. A thread reads what it copied itself, without a barrier.
  const int stage_elements = 2 * row_elements;
  T* const stages = reinterpret_cast<T*>(memory) + me.first;
  const int all_elements = params.stages * stage_elements;
  float* const shared = reinterpret_cast<float*>(reinterpret_cast<T*>(memory) + all_elements);
  const T* next_x = row_at<T>(params.x, row) + me.first;
  const T* next_dy = row_at<T>(params.dy, row) + me.first;
  const auto copy_next = [&](T* x, bool is_row) {
    if (is_row && has_tile) {
      T* dy = x + row_elements;
      keep_address(dy);
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        copy_to_shared(x + at(c), next_x + at(c));
        copy_to_shared(dy + at(c), next_dy + at(c));
      }
      next_x += params.x.row_stride;
      next_dy += params.dy.row_stride;
    }
    end_copies();
  };
#pragma unroll 1
  for (int i = 0; i < params.stages; ++i) copy_next(stages + i * stage_elements, row + i < end);
  int stage = 0;  // where the row's begins

  const W* weights = static_cast<const W*>(common.weight) + me.first;
  const bool has_dx = params.dx.data != nullptr && has_tile;
  T* dx_row = has_dx ? row_at<T>(params.dx, row) + me.first : nullptr;
  float next_rstd = params.rstd == nullptr ? 0.0f : params.rstd[row];
  int place = 0;  // of the next sums in shared memory
  bool may_overflow;
  const auto row_sum = [&](const Accumulators<T>& accumulators, const auto& may_overflow_of) {
    float sums[] = {tile_sum<T>(accumulators)};
    may_overflow = row_sums(sums, me, shared + place, may_overflow_of(sums[0]));
    place = me.groups - place;
    return sums[0];
  };
  Columns<T> dweight[kTilePacks] = {};
#pragma unroll 1
  for (; row < end; ++row) {
    Pack x[kTilePacks];
    Pack dy[kTilePacks];  // then what Gradient keeps
    if (has_tile) {
      await_copies(params.stages - 1);
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        x[c] = load_pack(stages + stage + at(c));
        dy[c] = load_pack(stages + stage + row_elements + at(c));
      }
    }
    float rstd = next_rstd;
    if (params.rstd == nullptr) {
      float factor = 1.0f;
      float sum;
#pragma unroll 1
      for (bool is_again = false;; is_again = true) {
        Accumulators<T> accumulators{};
        if (has_tile) {
#pragma unroll
          for (int c = 0; c < kTilePacks; ++c) {
            keep_packed(x[c]);
            fold_square<T>(x[c], factor, accumulators);
          }
        }
        sum =
            row_sum(accumulators, [&](float sum) { return may_overflow_square(sum, common.eps); });
        if (is_again || !may_overflow) break;
        factor = rescale_factor(sum, common.eps);
      }
      rstd = rescaled_rstd(sum, common.inverse_size, common.eps, factor);
      if (params.saved_rstd != nullptr && threadIdx.x == 0) params.saved_rstd[row] = rstd;
    } else if (row + 1 < end) {
      next_rstd = params.rstd[row + 1];
    }

    Accumulators<T> accumulators{};
    if (has_tile) {
#pragma unroll
      for (int c = 0; c < kTilePacks; ++c) {
        keep_packed(x[c]);
        keep_packed(dy[c]);
        const Columns<T> columns = unpack<T>(x[c]);
        dweight[c] = add_to_dweight(dweight[c], unpack<T>(dy[c]), xhat_of(columns, rstd),
                                    Rounding<T>{kIsLlama});
        dy[c] = G::keep(dy[c], weights + at(c));
        accumulators = fma(G::columns(dy[c], weights + at(c)), columns, accumulators);
      }
    }
    float sum = row_sum(accumulators,
                        [&](float sum) { return may_overflow_product(sum) || rstd > kLargeRstd; });
    copy_next(stages + stage, row + params.stages < end);
    stage += stage_elements;
    if (stage == all_elements) stage = 0;
    float factor = 1.0f;
    if (may_overflow) {
      if (!gradient_fold_stands(sum, rstd)) factor = power_of_two(rstd);
      accumulators = {};
      if (has_tile) {
#pragma unroll
        for (int c = 0; c < kTilePacks; ++c) {
          keep_packed(x[c]);
          keep_packed(dy[c]);
          accumulators =
              fma(G::columns(dy[c], weights + at(c)), unpack<T>(x[c]) * factor, accumulators);
        }
      }
      sum = row_sum(accumulators, [](float) { return false; });
    }

    if (dx_row == nullptr) continue;
    const RowScale scale = row_scale(sum, factor, rstd, common.inverse_size);
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      keep_packed(x[c]);
      keep_packed(dy[c]);
      const Columns<T> g = G::columns(dy[c], weights + at(c));
      const Columns<T> xhat = xhat_of(unpack<T>(x[c]), scale.rstd);
      store_global_pack(dx_row + at(c), pack(dx_of(g, xhat, scale.rstd, -scale.cbar)));
    }
    dx_row += params.dx.row_stride;
  }

  if (params.partials == nullptr || !has_tile) return;
  float* partial_row = params.partials + blockIdx.x * params.partial_stride;
#pragma unroll
  for (int c = 0; c < kTilePacks; ++c) {
    store_partial<T>(partial_row, me.column(0, c), dweight[c]);
  }
}

template <class T, class W, int index, Access access>
__device__ void backward_float(const BackwardParams& params) {
  backward_plain<T, W, index, false>(params);
}
template <class T, class W, int index, Access access>
__device__ void backward_llama(const BackwardParams& params) {
  backward_plain<T, W, index, true>(params);
}

}  // namespace

RMSNORM_PLAIN_BACKWARD_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
