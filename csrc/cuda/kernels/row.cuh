// A row in the registers of a group of threads, and its sums.
//
// A tile (fold.h) is held by kTileLanes<T> neighbouring lanes, with kTilePacks packs each. Lane l
// has the packs at columns kAccumulators * c + kPackColumns * l of the tile, c = 0 … 3. These are
// all columns of kPackColumns accumulators. The lanes of a tile are a tile group. A row has G tile
// groups, and tile group g holds the kTiles tiles g, g + G, g + 2G … So the first steps of the
// halving tree over the tiles are inside a thread. kTiles * G is the row's number of tiles, rounded
// up to a power of two.
//
// blockDim = (threads of a row = G * kTileLanes, rows of a block).
#pragma once

#include "kernel_params.h"
#include "kernel_table.h"
#include "primitives.cuh"

namespace rmsnorm::cuda {

template <class T>
inline constexpr unsigned kTileLanes = static_cast<unsigned>(kAccumulators) / kPackColumns<T>;
inline constexpr int kTilePacks = static_cast<int>(kTileColumns / kAccumulators);

template <class T>
struct RowThread {
  // Computed from unsigned numbers, whose division by a power of two is one instruction.
  int groups = static_cast<int>(blockDim.x / kTileLanes<T>);
  int group = static_cast<int>(threadIdx.x / kTileLanes<T>);
  int lane = static_cast<int>(threadIdx.x % kTileLanes<T>);  // of the tile group

  // Whether several warps hold the row, so that its sums need barriers.
  __device__ bool is_wide() const { return static_cast<int>(blockDim.x) > kWarpLanes; }

  // The first column of the thread's first pack. With one tile, the other packs are at constant
  // distances, which saves address registers. int suffices for the columns of a row that a block
  // holds.
  int first = static_cast<int>(kTileColumns) * group + kPackColumns<T> * lane;

  // The first column of pack c of the thread's k-th tile.
  __device__ int column(int k, int c) const {
    return first + static_cast<int>(kTileColumns) * groups * k +
           static_cast<int>(kAccumulators) * c;
  }
};

// The element at which a row begins. This is not a part of row_of, because bfloat16 kernels would
// then have two instructions more.
template <class AnyMatrix>
__device__ inline std::int64_t row_offset(const AnyMatrix& matrix, std::int64_t row) {
  const std::int64_t batch = matrix.batch_rows.quotient(row);
  const std::int64_t row_of_batch = row - batch * matrix.batch_rows.value;
  return batch * matrix.batch_stride + row_of_batch * matrix.row_stride;
}
// The address of a row: a T* for a Matrix, a const T* for a ConstMatrix.
template <class T, class Data>
__device__ inline auto row_of(const MatrixOf<Data>& matrix, std::int64_t row) {
  using Element = std::conditional_t<std::is_const_v<Data>, const T, T>;
  return static_cast<Element*>(matrix.data) + row_offset(matrix, row);
}

// The same for rows in one batch whose numbers fit 32 bits.
template <class T, class Data>
__device__ inline auto row_at(const MatrixOf<Data>& matrix, int row) {
  using Element = std::conditional_t<std::is_const_v<Data>, const T, T>;
  return static_cast<Element*>(matrix.data) + row * matrix.row_stride;
}

// Moves each pack to the index before it, and the first pack to the end. An index into registers
// must be constant. So a loop that is not unrolled uses only packs[0], and calls this in each step.
template <int kPacks, class AnyPack>
__device__ inline void rotate(AnyPack (&packs)[kPacks]) {
  const AnyPack first = packs[0];
#pragma unroll
  for (int i = 1; i < kPacks; ++i) packs[i - 1] = packs[i];
  packs[kPacks - 1] = first;
}

// How many columns the row has from `column` on; a result of 0 or less means none. The functions
// below compute columns in the type of `column`, int or std::int64_t.
template <class Column>
__device__ inline Column columns_from(Column column, const RowParams& params) {
  return static_cast<Column>(params.hidden_size) - column;
}

template <class T, Access kAccess, class Column>
__device__ inline Pack load(const T* row, Column column, const RowParams& params) {
  if constexpr (kAccess == Access::kPacks) {
    return columns_from(column, params) > 0 ? load_pack(row + column) : Pack{};
  } else {
    const Column bytes = columns_from(column, params) * static_cast<int>(sizeof(T));
    return load_unaligned<T>(row + column, bytes, params.access_bytes);
  }
}

template <class T, Access kAccess, class Column>
__device__ inline void store(T* row, Column column, const Pack& pack, const RowParams& params) {
  if constexpr (kAccess == Access::kPacks) {
    if (columns_from(column, params) > 0) store_global_pack(row + column, pack);
  } else {
    const Column bytes = columns_from(column, params) * static_cast<int>(sizeof(T));
    store_unaligned<T>(row + column, pack, bytes, params.access_bytes);
  }
}

// T(x + residual). Rounding the sum of two 16-bit numbers to float32 first does not change the
// result, because float32 has enough bits.
template <class T>
__device__ inline Pack sum_of_packs(const Pack& x, const Pack& residual) {
  return pack(unpack<T>(x) + unpack<T>(residual));
}

// The weights of one pack of columns of T, not yet converted to float.
template <class T, class W>
struct WeightPack {
  static constexpr int kPacks = static_cast<int>(sizeof(W) / sizeof(T));
  Pack packs[kPacks];

  // From global memory; ones if there is no weight.
  template <class Column>
  __device__ void load(Column column, const RowParams& params) {
    const W* address = static_cast<const W*>(params.weight) + column;
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (params.weight == nullptr) {
        packs[i] = pack(Columns<W>{} + 1.0f);
      } else {
        const bool is_there = columns_from(column, params) > 0;
        packs[i] = is_there ? load_pack(address + i * kPackColumns<W>) : Pack{};
      }
    }
  }

  // As load(), if the weight and the columns are known to exist.
  __device__ void load_all(const W* address) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) packs[i] = load_pack(address + i * kPackColumns<W>);
  }

  __device__ Columns<T> columns() const {
    Columns<T> w;
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      w.values[i] = unpack<W>(packs[i / kPackColumns<W>]).values[i % kPackColumns<W>];
    }
    return w;
  }
};

// A weight of either type, loaded column by column.
template <class T>
struct WeightPack<T, AnyWeight> {
  Columns<T> w;

  template <class Column>
  __device__ void load(Column column, const RowParams& params) {
    w = Columns<T>{} + 1.0f;
    if (params.weight == nullptr) return;
    if (params.weight_is_float32) {
      load_columns(static_cast<const float*>(params.weight), column, params);
    } else {
      load_columns(static_cast<const T*>(params.weight), column, params);
    }
  }

  template <class W, class Column>
  __device__ void load_columns(const W* weight, Column column, const RowParams& params) {
    const Column columns = columns_from(column, params);
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      if (i < columns) w.values[i] = to_float(weight[column + i]);
    }
  }

  __device__ Columns<T> columns() const { return w; }
};

// w = weight + offset.
template <class T, class W>
__device__ inline Columns<T> w_of(const WeightPack<T, W>& weight, const RowParams& params) {
  Columns<T> w = weight.columns();
  if (params.weight_offset != 0.0f) w = w + params.weight_offset;
  return w;
}

// y of one pack.
template <class T, class W>
__device__ inline Pack y_pack(const Pack& x, float rstd, const WeightPack<T, W>& weight,
                              const RowParams& params) {
  const Columns<T> w = w_of(weight, params);
  const Columns<T> xhat = xhat_of(unpack<T>(x), rstd);
  return pack(y_of(xhat, w, Rounding<T>{params.is_llama_order}));
}

// y of one pack, if there is a weight and no offset, and the cast order is known.
template <class T, bool kIsLlama, class W>
__device__ inline Pack y_pack(const Pack& x, float rstd, const WeightPack<T, W>& weight) {
  const Columns<T> xhat = xhat_of(unpack<T>(x), rstd);
  if constexpr (kIsLlama && __is_same(T, W)) {
    return multiply_packed<T>(pack(xhat), weight.packs[0]);
  } else {
    return pack(y_of(xhat, weight.columns(), Rounding<T>{kIsLlama}));
  }
}

// The accumulators (fold.h) of a tile that one lane holds: chains of acc = fma(a, b, acc).
template <class T>
using Accumulators = Columns<T>;

// Adds one column to each chain of x * x, where x may first be multiplied by a factor.
template <class T>
__device__ inline void fold_square(const Columns<T>& x, Accumulators<T>& accumulators) {
  accumulators = fma(x, x, accumulators);
}
template <class T>
__device__ inline void fold_square(const Pack& x, Accumulators<T>& accumulators) {
  fold_square<T>(unpack<T>(x), accumulators);
}
template <class T>
__device__ inline void fold_square(const Pack& x, float factor, Accumulators<T>& accumulators) {
  fold_square<T>(unpack<T>(x) * factor, accumulators);
}

// Returns the halving tree over the tile's accumulators to all lanes of the tile. All lanes of the
// warp must call it. A level of the tree adds the accumulators of two lanes, pair by pair. Each of
// the two lanes adds half of the pairs and sends the other half. So each step halves a lane's
// kPackColumns accumulators until one is left. The last levels of the tree add accumulators that
// one lane held at first, and that other lanes have now. This takes 7 shuffles for float32 and 10
// for 16-bit types. A tree for each accumulator by itself would take 16 and 24.
template <class T>
__device__ inline float tile_sum(Accumulators<T> accumulators) {
  const unsigned lane = threadIdx.x % kTileLanes<T>;
  int offset = static_cast<int>(kTileLanes<T>) / 2;
#pragma unroll
  for (int half = kPackColumns<T> / 2; half >= 1; half /= 2) {
    const bool is_upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float own = is_upper ? accumulators.values[i + half] : accumulators.values[i];
      const float sent = is_upper ? accumulators.values[i] : accumulators.values[i + half];
      accumulators.values[i] = own + shuffle_xor(sent, offset);
    }
    offset /= 2;
  }
  float sum = accumulators.values[0];
#pragma unroll
  for (int s = offset; s >= 1; s /= 2) sum += shuffle_xor(sum, s);
    // The last levels add what the first loop spread over the lanes. They pair the lanes by the
    // same bits of the lane number, in the same order.
#pragma unroll
  for (int s = static_cast<int>(kTileLanes<T>) / 2; s > offset; s /= 2) sum += shuffle_xor(sum, s);
  return sum;
}

// The halving tree over the tiles that a thread holds.
template <int kTiles>
__device__ inline float own_tiles_sum(float (&sums)[kTiles]) {
#pragma unroll
  for (int s = kTiles / 2; s >= 1; s /= 2) {
#pragma unroll
    for (int k = 0; k < s; ++k) sums[k] += sums[k + s];
  }
  return sums[0];
}

// Whether a row may need a rescaled pass (fold.h), from the sum over the tiles of one thread. A row
// has at most 64 such sums, of 2^15 columns together. If the row needs the pass, the result is true
// for a sum of the row. It is rarely true for other rows. The sum of x * x also tells whether rstd
// may be above kLargeRstd: then eps and the mean are below 2^-64, so each sum is below 2^-49.
__device__ inline bool may_overflow_square(float sum, float eps) {
  return !(sum < 0x1p100f) || (eps < 0x1p-60f && sum < 0x1p-48f);
}
__device__ inline bool may_overflow_product(float sum) { return !(fabsf(sum) < 0x1p100f); }

// Replaces the sums over each thread's tiles by the row sums, kCount sums at once, in all threads
// of the row. All threads of the block must call it. A row wider than a warp needs `shared` (kCount
// * groups floats for each row of the block) and has one barrier. A second call must not write the
// same memory before all threads have passed another barrier. Returns whether may_overflow is true
// for any thread of the block, or, if there is no barrier, of the warp.
template <class T, int kCount>
__device__ inline bool row_sums(float (&sums)[kCount], const RowThread<T>& me, float* shared,
                                bool may_overflow) {
  if (!me.is_wide()) {
    may_overflow = any_of_warp(may_overflow);
    for (int s = me.groups / 2; s >= 1; s /= 2) {
#pragma unroll
      for (float& sum : sums) sum += shuffle_xor(sum, s * kTileLanes<T>);
    }
    return may_overflow;
  }
  float* row = shared + kCount * me.groups * static_cast<int>(threadIdx.y);
  if (me.lane == 0) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) row[i * me.groups + me.group] = sums[i];
  }
  may_overflow = __syncthreads_or(may_overflow) != 0;
  // Every warp completes the tree itself, padded with zeros. There are at most 64 tile groups: 512
  // threads, in groups of 8 lanes.
  const int leaf = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const float* leaves = row + i * me.groups + leaf;
    sums[i] = leaf < me.groups ? leaves[0] : 0.0f;
    if (leaf + kWarpLanes < me.groups) sums[i] += leaves[kWarpLanes];
  }
#pragma unroll
  for (int s = kWarpLanes / 2; s >= 1; s /= 2) {
#pragma unroll
    for (float& sum : sums) sum += shuffle_xor(sum, s);
  }
  return may_overflow;
}

}  // namespace rmsnorm::cuda
