// How a call's rows map to packs, tiles and threads, and the launches that follow from that.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../../op/fold.h"
#include "policy.h"

namespace rmsnorm::cuda {

inline const KernelEntry* find(const Call& call, Kind kind, int index, Access access) {
  return find_kernel(kind, index, access, call.dtype, call.weight_dtype);
}

inline Access access_of(const Call& call) {
  return call.access_bytes == 16 ? Access::kPacks : Access::kUnaligned;
}

inline std::int64_t pack_columns(const Call& call) { return 16 / element_size(call.dtype); }
// The threads that hold one tile, each with the chains of pack_columns() accumulators (row.cuh).
// They are a tile group.
inline std::int64_t tile_lanes(const Call& call) { return kAccumulators / pack_columns(call); }
inline std::int64_t row_packs(const Call& call) {
  return ceil_div(call.shape.hidden_size, pack_columns(call));
}
inline std::int64_t padded_tiles(const Call& call) {
  return bit_ceil(tile_count(call.shape.hidden_size));
}

// The threads of a row if each tile group holds `tiles` tiles; 0 if the row has fewer tiles.
inline std::int64_t row_threads(const Call& call, std::int64_t tiles) {
  return padded_tiles(call) / tiles * tile_lanes(call);
}

// The tile groups of a row with this many threads.
inline std::int64_t row_groups_of_tiles(const Call& call, std::int64_t threads) {
  return threads / tile_lanes(call);
}

// The fewest rows of a block, a power of two, with which all blocks fit a grid.
inline std::int64_t least_group_rows(std::int64_t rows) {
  return bit_ceil(ceil_div(rows, kMaxBlocks));
}

// Uses the first policy, from index `first` on, that the row fits and that has a kernel for the
// call. A block has as many rows as `block_threads` threads hold, at least one. shared_bytes is not
// set.
template <class AnyPolicy, std::size_t kPolicies>
LaunchConfig configure_rows(const Call& call, Kind kind, const AnyPolicy (&policies)[kPolicies],
                            std::int64_t block_threads, std::size_t first = 0) {
  for (std::size_t index = first; index < kPolicies; ++index) {
    const std::int64_t threads = row_threads(call, policies[index].tiles);
    const KernelEntry* kernel = find(call, kind, static_cast<int>(index), access_of(call));
    if (threads == 0 || threads > policies[index].max_threads || kernel == nullptr) continue;
    const std::int64_t rows = std::max<std::int64_t>(block_threads / threads, 1);
    return {.kernel = kernel,
            .blocks = ceil_div(call.shape.rows, rows),
            .block_x = static_cast<unsigned>(threads),
            .block_y = static_cast<unsigned>(rows)};
  }
  return {};
}

inline bool has_whole(const Call& call, std::int64_t columns) {
  return call.shape.hidden_size % columns == 0;
}

// Bytes of shared memory of a block that has `floats` floats for each tile group of its rows.
inline unsigned group_bytes(const Call& call, const LaunchConfig& launch, unsigned floats) {
  const std::int64_t groups = row_groups_of_tiles(call, launch.block_x);
  return static_cast<unsigned>(groups * launch.block_y * floats * sizeof(float));
}

}  // namespace rmsnorm::cuda
