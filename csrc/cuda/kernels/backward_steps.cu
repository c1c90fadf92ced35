// Backward of rows so short that several fit shared memory. A block processes the rows of its row
// group in steps. In a step each row has its own threads, which compute its sums and write its dx.
// Then all threads share the columns and add the step's rows to dweight's chains, in row order. So
// several rows are loaded at once, although the chains take one row after another.
#include "gradient.cuh"

namespace rmsnorm::cuda {
namespace {

// The arrays in the shared memory of a block, one behind another.
template <class T>
struct StepMemory {
  Pack* x;       // (rows of the step, packs of a row)
  Pack* dy;      // the same
  float* sums;   // (rows of the step, 2, tile groups)
  float* rstds;  // (rows of the step)
  int row_packs;

  __device__ StepMemory(Pack* memory, const RowParams& params, int groups) {
    const int rows = static_cast<int>(blockDim.y);
    row_packs = static_cast<int>(ceil_div(params.hidden_size, kPackColumns<T>));
    x = memory;
    dy = x + rows * row_packs;
    sums = reinterpret_cast<float*>(dy + rows * row_packs);
    rstds = sums + 2 * groups * rows;
  }
};

// Grid: ceil(rows / group_rows). Block: (threads of a row, rows of a step).
template <class T, class W, int index, Access access>
__device__ void backward_steps(const BackwardParams& params) {
  constexpr int kPacks = kStepPolicies[index].packs;  // packs whose dweight a thread sums
  extern __shared__ Pack shared[];
  const RowParams& common = params.common;
  const RowThread<T> me;
  const StepMemory<T> memory(shared, common, me.groups);
  const int step_rows = static_cast<int>(blockDim.y);
  const int slot = static_cast<int>(threadIdx.y);
  const int thread = slot * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  const std::int64_t begin = blockIdx.x * params.group_rows;
  const unsigned rows = static_cast<unsigned>(min(params.group_rows, common.rows - begin));
  const bool needs_xx = params.rstd == nullptr;

  const auto is_column = [&](int c) { return columns_from(me.column(0, c), common) > 0; };
  // Prefetches a row to the L2 cache. For each line of 128 bytes of the tile, one lane does this.
  constexpr int kLineLanes = 8;  // lanes whose packs of 16 bytes make a line
  const int line = me.lane % kLineLanes;
  const int line_column =
      me.first + (line * static_cast<int>(kAccumulators)) - line * kPackColumns<T>;
  const bool has_line =
      params.prefetches && line < kTilePacks && columns_from(line_column, common) > 0;
  const auto prefetch_row = [&](const ConstMatrix& matrix, std::int64_t row) {
    if (has_line) prefetch(row_of<T>(matrix, row) + line_column);
  };
  Pack* own_x = memory.x + slot * memory.row_packs + me.column(0, 0) / kPackColumns<T>;
  Pack* own_dy = own_x + step_rows * memory.row_packs;

  // Loops that read shared memory need no unrolling. Without unrolling, kUnaligned kernels are half
  // as large.
  constexpr int kUnrolled = access == Access::kUnaligned ? 1 : kTilePacks;
  Columns<T> dweight[kPacks] = {};
  for (unsigned first = 0; first < rows; first += step_rows) {
    const bool is_row = first + slot < rows;
    const std::int64_t row = begin + first + slot;
    const T* x_row = row_of<T>(params.x, row);
    const T* dy_row = row_of<T>(params.dy, row);
    Pack x[kTilePacks];
    Pack dy[kTilePacks];
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      x[c] = is_row ? load<T, access>(x_row, me.column(0, c), common) : Pack{};
      dy[c] = is_row ? load<T, access>(dy_row, me.column(0, c), common) : Pack{};
    }
    // A thread reads even its own packs from shared memory, because it has no registers to hold
    // them.
#pragma unroll
    for (int c = 0; c < kTilePacks; ++c) {
      if (!is_column(c)) continue;
      store_shared_pack(own_x + kTileLanes<T> * c, x[c]);
      store_shared_pack(own_dy + kTileLanes<T> * c, dy[c]);
    }
    forget_memory();
    BackwardFolds folds{needs_xx || !is_row ? 0.0f : params.rstd[row]};
    float sums[2] = {};
#pragma unroll 1
    for (;;) {
      Accumulators<T> accumulators{};
#pragma unroll kUnrolled
      for (int c = 0; c < kTilePacks; ++c) {
        if (!is_column(c)) continue;
        fold_gradient<T, W, access>(load_pack(own_x + kTileLanes<T> * c),
                                    load_pack(own_dy + kTileLanes<T> * c), me.column(0, c),
                                    folds.factor, common, accumulators);
      }
      sums[0] = tile_sum<T>(accumulators);
      if (needs_xx) {
        accumulators = {};
#pragma unroll kUnrolled
        for (int c = 0; c < kTilePacks; ++c) {
          if (!is_column(c)) continue;
          fold_square<T>(load_pack(own_x + kTileLanes<T> * c), folds.factor, accumulators);
        }
        sums[1] = tile_sum<T>(accumulators);
      }
      const bool may_overflow =
          row_sums(sums, me, memory.sums, folds.may_overflow(sums, needs_xx, common));
      if (folds.are_done(sums, may_overflow, needs_xx, common)) break;
      if (me.is_wide()) __syncthreads();
    }

    if (threadIdx.x == 0) memory.rstds[slot] = is_row ? folds.rstd : 0.0f;
    if (is_row && params.dx.data != nullptr) {
      const RowScale scale = row_scale(sums[0], folds.factor, folds.rstd, common.inverse_size);
      T* dx_row = row_of<T>(params.dx, row);
#pragma unroll 1
      for (int c = 0; c < kTilePacks; ++c) {
        if (!is_column(c)) continue;
        forget_memory();
        const int column = me.column(0, c);
        WeightPack<T, W> weight;
        weight.load(column, common);
        store_dx<T, W, access>(params, row, dx_row, column, load_pack(own_x + kTileLanes<T> * c),
                               load_pack(own_dy + kTileLanes<T> * c), weight, scale);
      }
    }
    // Prefetches the next step's rows to the L2 cache while this step's rows are added to the
    // chains.
    if (first + slot + step_rows < rows) {
      prefetch_row(params.x, row + step_rows);
      prefetch_row(params.dy, row + step_rows);
      if (params.dsum.data != nullptr) {
        prefetch_row(params.dsum, row + step_rows);
      }
    }

    __syncthreads();
    const int added_rows = static_cast<int>(min(rows - first, static_cast<unsigned>(step_rows)));
    if (params.partials != nullptr) {
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        const int pack = i * threads + thread;
        if (pack >= memory.row_packs) continue;
        for (int r = 0; r < added_rows; ++r) {
          const int at = r * memory.row_packs + pack;
          add_row<T>(load_pack(memory.x + at), load_pack(memory.dy + at), memory.rstds[r], common,
                     dweight[i]);
        }
      }
    }
    __syncthreads();
  }

  if (params.partials == nullptr) return;
  float* partial_row = params.partials + blockIdx.x * params.partial_stride;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int pack = i * threads + thread;
    if (pack < memory.row_packs) store_partial<T>(partial_row, pack * kPackColumns<T>, dweight[i]);
  }
}

}  // namespace

RMSNORM_STEP_KERNELS(RMSNORM_DEFINE_KERNEL)

}  // namespace rmsnorm::cuda
