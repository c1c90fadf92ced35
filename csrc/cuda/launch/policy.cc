#include "policy.h"

#include <algorithm>
#include <iterator>

#include "../../op/fold.h"
#include "../kernels/matrix.h"

namespace rmsnorm::cuda {
namespace {

const KernelEntry* find(const Call& call, Kind kind, int index, Access access) {
  return find_kernel(kind, index, access, call.dtype, call.weight_dtype);
}

Access access_of(const Call& call) {
  return call.access_bytes == 16 ? Access::kPacks : Access::kParts;
}

std::int64_t pack_columns(const Call& call) { return 16 / element_size(call.dtype); }
std::int64_t tile_lanes(const Call& call) { return kAccumulators / pack_columns(call); }
std::int64_t row_packs(const Call& call) {
  return ceil_div(call.shape.hidden_size, pack_columns(call));
}
std::int64_t padded_tiles(const Call& call) { return bit_ceil(tile_count(call.shape.hidden_size)); }

// Threads of a row that hold `tiles` tiles each; 0 if that is more than the row has.
std::int64_t row_threads(const Call& call, std::int64_t tiles) {
  return padded_tiles(call) / tiles * tile_lanes(call);
}

std::int64_t row_groups_of_tiles(const Call& call, std::int64_t threads) {
  return threads / tile_lanes(call);
}

// The largest power of two that divides both, at most 16.
std::int64_t alignment(std::int64_t value) {
  return value == 0 ? 16 : std::min<std::int64_t>(value & -value, 16);
}
std::int64_t alignment(const void* pointer) {
  return alignment(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(pointer) & 15));
}

// The alignment of every row of a matrix of `rows` rows; 16 if there is no matrix.
template <class AnyRows>
std::int64_t alignment(const AnyRows& matrix, std::int64_t rows, DType dtype) {
  if (matrix.data == nullptr) return 16;
  const AnyRows merged = merge_batches(matrix, rows);
  return std::min({alignment(merged.data), alignment(merged.row_stride * element_size(dtype)),
                   alignment(merged.batch_stride * element_size(dtype))});
}

template <class Args, class... AnyRows>
Call call_of(const Args& args, const AnyRows&... matrices) {
  const bool has_weight = args.weight.data != nullptr;
  const std::int64_t row_bytes = args.shape.hidden_size * element_size(args.dtype);
  std::int64_t access =
      std::min({alignment(row_bytes), alignment(matrices, args.shape.rows, args.dtype)...});
  // A weight that is not aligned is read column by column, as by all kernels of kParts.
  if (access == 16 && has_weight && alignment(args.weight.data) < 16) access = 8;
  return {.shape = args.shape,
          .dtype = args.dtype,
          .weight_dtype = has_weight ? args.weight.dtype : args.dtype,
          .access_bytes = static_cast<int>(access)};
}

// A block for so many rows that a grid can have one for each.
std::int64_t least_group_rows(std::int64_t rows) { return bit_ceil(ceil_div(rows, kMaxBlocks)); }

// The first of the policies that a row fits, with as many rows as `block_threads` are enough for,
// one at least. Without shared memory.
template <std::size_t kPolicies>
LaunchConfig configure_rows(const Call& call, Kind kind, const Policy (&policies)[kPolicies],
                            std::int64_t block_threads) {
  for (std::size_t index = 0; index < kPolicies; ++index) {
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

// Shared memory of a launch for so many floats of each tile group of its rows.
unsigned group_bytes(const Call& call, const LaunchConfig& launch, unsigned floats) {
  const std::int64_t groups = row_groups_of_tiles(call, launch.block_x);
  return static_cast<unsigned>(groups * launch.block_y * floats * sizeof(float));
}

// Rows of a step: as many as there are threads, row groups and shared memory for; 0 if not even
// two.
std::int64_t step_rows(const Call& call, std::int64_t group_rows, int max_threads,
                       std::int64_t shared_limit) {
  const std::int64_t row_bytes = 2 * 16 * row_packs(call);
  std::int64_t rows = max_threads / row_threads(call, 1);
  if (group_rows > 0) rows = std::min(rows, group_rows);
  while (rows * row_bytes > std::min<std::int64_t>(kStepSharedBytes, shared_limit)) rows /= 2;
  return rows >= 2 ? rows : 0;
}

LaunchConfig configure_steps(const Call& call, std::int64_t group_rows, std::int64_t shared_limit) {
  const Access access = access_of(call);
  const std::int64_t threads = row_threads(call, 1);
  const std::int64_t groups = row_groups_of_tiles(call, threads);
  const std::int64_t sums_bytes = 4 * (2 * groups + 1);  // of a row, see StepMemory
  for (int index = 0; index < static_cast<int>(std::size(kStepPolicies)); ++index) {
    const StepPolicy& policy = kStepPolicies[index];
    const KernelEntry* kernel = find(call, Kind::kBackwardStep, index, access);
    if (kernel == nullptr || threads > policy.max_threads) continue;
    const std::int64_t margin = sums_bytes * policy.max_threads / threads;
    const std::int64_t rows =
        step_rows(call, group_rows, policy.max_threads, shared_limit - margin);
    if (rows == 0 || row_packs(call) > policy.packs * rows * threads) continue;
    return {.kernel = kernel,
            .blocks = 0,
            .block_x = static_cast<unsigned>(threads),
            .block_y = static_cast<unsigned>(rows),
            .shared_bytes = static_cast<unsigned>(rows * (2 * 16 * row_packs(call) + sums_bytes))};
  }
  return {};
}

LaunchConfig configure_single(const Call& call) {
  LaunchConfig launch = configure_rows(call, Kind::kBackwardSingle, kSinglePolicies, 1);
  launch.shared_bytes = group_bytes(call, launch, 4);
  return launch.block_x < kWarpLanes ? LaunchConfig{} : launch;
}

LongConfig configure_long(const Call& call, Kind fold, Kind finish, int sums) {
  const std::int64_t rows = call.shape.rows;
  const std::int64_t lanes = tile_lanes(call);
  const std::int64_t groups = std::min(kLongThreads / lanes, padded_tiles(call));
  LongConfig config{};
  config.splits = padded_tiles(call) / groups;
  config.sums_floats = 2 * rows * config.splits;
  config.fold = {.kernel = find(call, fold, 0, Access::kParts),
                 .blocks = rows * config.splits,
                 .block_x = static_cast<unsigned>(groups * lanes),
                 .block_y = 1,
                 .shared_bytes = static_cast<unsigned>(sums * groups * sizeof(float))};
  config.finish_sums = config.fold;
  config.finish_sums.blocks = rows;
  config.finish = {.kernel = find(call, finish, 0, Access::kParts), .block_x = kLongThreads};
  return config;
}

}  // namespace

Call Call::of(const ForwardArgs& args) {
  return call_of(args, args.x, args.residual, args.sum, args.y);
}

Call Call::of(const BackwardArgs& args) {
  return call_of(args, args.dy, args.x, args.dx, args.dsum);
}

LaunchConfig configure_forward(const Call& call) {
  LaunchConfig launch =
      configure_rows(call, Kind::kForward, kForwardPolicies, kForwardBlockThreads);
  if (launch.block_x > kWarpLanes) launch.shared_bytes = group_bytes(call, launch, 1);
  return launch;
}

BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, int shared_limit) {
  LaunchConfig launch = configure_steps(call, group_rows, shared_limit);
  if (launch.kernel == nullptr) launch = configure_single(call);
  if (group_rows == 0) {
    group_rows = std::max<std::int64_t>(launch.block_y, least_group_rows(call.shape.rows));
  }
  launch.blocks = ceil_div(call.shape.rows, group_rows);
  return {launch, group_rows};
}

LongConfig configure_long_forward(const Call& call) {
  LongConfig config = configure_long(call, Kind::kFoldForward, Kind::kScaleRows, 1);
  config.finish.blocks = call.shape.rows * ceil_div(row_packs(call), kLongThreads * kScalePacks);
  return config;
}

LongConfig configure_long_backward(const Call& call, std::int64_t group_rows) {
  LongConfig config = configure_long(call, Kind::kFoldBackward, Kind::kBackwardColumns, 2);
  config.group_rows = group_rows > 0 ? group_rows : kMinGroupRows;
  config.finish.blocks =
      ceil_div(row_packs(call), kLongThreads) * ceil_div(call.shape.rows, config.group_rows);
  return config;
}

FinishConfig configure_finish_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups) {
  const Call call{.shape = {0, hidden_size},
                  .dtype = dweight_dtype,
                  .weight_dtype = dweight_dtype,
                  .access_bytes = 16};
  const std::int64_t parts =
      std::clamp<std::int64_t>(bit_ceil(groups) / kFinishPartGroups, 1, kMaxFinishParts);
  return {.launch = {.kernel = find(call, Kind::kFinishDweight, 0, Access::kPacks),
                     .blocks = ceil_div(hidden_size, kFinishColumns),
                     .block_x = kFinishColumns,
                     .block_y = static_cast<unsigned>(parts)},
          .part_groups = static_cast<int>(bit_ceil(groups) / parts)};
}

}  // namespace rmsnorm::cuda
