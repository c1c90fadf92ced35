#include <algorithm>
#include <iterator>

#include "row_shape.h"

namespace rmsnorm::cuda {
namespace {

// Rows of a step (StepPolicy): as many as the threads, the row group and shared memory allow. 0 if
// these allow fewer than two. `shared_limit` is in bytes.
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
  const std::int64_t sums_bytes = 4 * (2 * groups + 1);  // of a row: StepMemory's sums, rstds
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

// How many blocks of a fast kernel a multiprocessor holds, and how many rows (stages) each block
// has in flight.
struct Residence {
  std::int64_t blocks;
  int stages;
};

// The most stages, a power of two, with which a multiprocessor has room for `blocks` blocks; 0 if
// it has no room. With two tiles a thread there is at most one stage.
int fast_stages(int tiles, std::int64_t blocks, std::int64_t row_bytes, std::int64_t sums_bytes,
                const Limits& limits) {
  const std::int64_t of_block = (limits.shared_bytes + kReservedSharedBytes) / blocks;
  const std::int64_t rows = (of_block - kReservedSharedBytes - sums_bytes) / row_bytes;
  int stages = 0;
  const std::int64_t most = std::min<std::int64_t>(rows, tiles == 1 ? kMaxFastStages : 1);
  for (int power = 1; power <= most; power *= 2) {
    stages = power;
  }
  return stages;
}

// The share of time in which the multiprocessors are busy with a grid of `blocks` equally long
// blocks, if each multiprocessor holds `resident` blocks at once.
double busy_share(std::int64_t blocks, std::int64_t resident, const Limits& limits) {
  const std::int64_t slots = resident * limits.multiprocessors;
  return static_cast<double>(blocks) / static_cast<double>(ceil_div(blocks, slots) * slots);
}

// Chooses as many blocks a multiprocessor as registers, shared memory and the grid allow. Chooses
// fewer if the multiprocessors are then less idle while the last blocks of the grid run. `blocks`
// is the number of blocks of the grid; 0 if it is still to be chosen.
Residence choose_residence(const FastBackwardPolicy& policy, std::int64_t threads,
                           std::int64_t blocks, std::int64_t row_bytes, std::int64_t sums_bytes,
                           const Limits& limits) {
  const std::int64_t by_registers = policy.resident_threads / threads;
  const std::int64_t by_grid =
      blocks == 0 ? by_registers : ceil_div(blocks, limits.multiprocessors);
  Residence best{};
  double best_share = 0;
  for (std::int64_t resident = std::min(by_registers, by_grid); resident >= 1; --resident) {
    const int stages = fast_stages(policy.tiles, resident, row_bytes, sums_bytes, limits);
    if (stages == 0) continue;
    const double share = blocks == 0 ? 1 : busy_share(blocks, resident, limits);
    // A gain below 0.05 of the time does not outweigh that fewer blocks have fewer rows in flight.
    if (best.stages != 0 && share < best_share + 0.05) continue;
    best_share = share;
    best = {resident, stages};
  }
  return best;
}

// Rows of a block with which all slots get nearly the same number of rows. A slot is a place for a
// block on a multiprocessor. It takes one to four blocks, one after another.
std::int64_t even_rows(std::int64_t rows, std::int64_t slots) {
  std::int64_t best = std::max<std::int64_t>(ceil_div(rows, slots), 1);
  std::int64_t least = best;  // the most rows that a slot gets
  for (std::int64_t waves = 2; waves <= 4; ++waves) {
    const std::int64_t block_rows = std::max<std::int64_t>(ceil_div(rows, waves * slots), 1);
    const std::int64_t taken = ceil_div(ceil_div(rows, block_rows), slots) * block_rows;
    if (taken > least || block_rows == best) continue;
    best = block_rows;
    least = taken;
  }
  return best;
}

// The fewest bytes of shared memory a block with which a multiprocessor holds no more than `blocks`
// blocks.
unsigned least_bytes(std::int64_t blocks, const Limits& limits) {
  const std::int64_t all = limits.shared_bytes + kReservedSharedBytes;
  return static_cast<unsigned>(
      std::max<std::int64_t>(all / (blocks + 1) + 1 - kReservedSharedBytes, 0));
}

// For fast calls (Kind): a block has one row at a time in registers, while it copies the next rows
// to shared memory (backward_fast.cu). rows.blocks is not set.
BackwardConfig configure_fast_backward(const Call& call, std::int64_t group_rows,
                                       const Limits& limits) {
  if (!call.is_fast || !has_whole(call, kTileColumns)) return {};
  const Kind kind = call.is_llama_order ? Kind::kBackwardLlama : Kind::kBackwardFloat;
  if (limits.architecture < oldest_architecture(kind)) return {};
  LaunchConfig launch = configure_rows(call, kind, kFastBackwardPolicies, 1);
  if (launch.kernel == nullptr || launch.block_x < kMinFastThreads) return {};
  const std::int64_t row_bytes = 2 * 16 * row_packs(call);
  const unsigned sums_bytes = group_bytes(call, launch, 2);
  const std::int64_t blocks = group_rows == 0 ? 0 : ceil_div(call.shape.rows, group_rows);
  const FastBackwardPolicy& policy = kFastBackwardPolicies[launch.kernel->index];
  const Residence residence =
      choose_residence(policy, launch.block_x, blocks, row_bytes, sums_bytes, limits);
  if (residence.stages == 0) return {};
  launch.shared_bytes = std::max(static_cast<unsigned>(residence.stages * row_bytes) + sums_bytes,
                                 least_bytes(residence.blocks, limits));
  if (group_rows == 0) {
    group_rows = even_rows(call.shape.rows, residence.blocks * limits.multiprocessors);
  }
  BackwardConfig config{};
  config.rows = launch;
  config.group_rows = group_rows;
  config.stages = residence.stages;
  return config;
}

// Configures BackwardConfig::rows alone. If group_rows is 0, a block may have any number of rows.
BackwardConfig configure_backward_rows(const Call& call, std::int64_t group_rows,
                                       const Limits& limits) {
  BackwardConfig config = configure_fast_backward(call, group_rows, limits);
  if (config.rows.kernel == nullptr) {
    config.rows = configure_steps(call, group_rows, limits.shared_bytes);
    if (config.rows.kernel == nullptr) config.rows = configure_single(call);
    config.group_rows = group_rows != 0 ? group_rows
                                        : std::max<std::int64_t>(config.rows.block_y,
                                                                 least_group_rows(call.shape.rows));
  }
  config.rows.blocks = ceil_div(call.shape.rows, config.group_rows);
  config.prefetches = limits.cache_bytes / limits.multiprocessors >= kPrefetchedBytes;
  return config;
}

// Configures BackwardConfig::columns: dweight alone, for rows whose rstd is known. Halves the
// threads of a block, down to a warp, until there are four blocks or more for each multiprocessor.
// All multiprocessors then have about the same number of blocks.
LaunchConfig configure_columns(const Call& call, std::int64_t group_rows, const Limits& limits) {
  const std::int64_t groups = ceil_div(call.shape.rows, group_rows);
  std::int64_t threads = kLongThreads;
  while (threads > kWarpLanes &&
         ceil_div(row_packs(call), threads) * groups < 4 * limits.multiprocessors)
    threads /= 2;
  return {.kernel = find(call, Kind::kBackwardColumns, 0, Access::kUnaligned),
          .blocks = ceil_div(row_packs(call), threads) * groups,
          .block_x = static_cast<unsigned>(threads)};
}

}  // namespace

BackwardConfig configure_backward(const Call& call, std::int64_t group_rows, const Limits& limits) {
  if (call.has_gate) return {};
  BackwardConfig config = configure_backward_rows(call, group_rows, limits);
  if (group_rows == 0 || config.rows.kernel == nullptr) return config;
  const bool has_few_groups = kSeparateBlocks * config.rows.blocks <= limits.multiprocessors;
  const bool is_long_chain = group_rows > kSeparateSteps * config.rows.block_y;
  if (!has_few_groups || !is_long_chain || call.shape.rows < kMinSeparateRows) return config;
  // `columns` needs an rstd. If the call has none, the launch that computes dx runs first and saves
  // it, so dx must not overwrite x or dy. Only fast kernels, which have stages, save rstd.
  if (!call.has_rstd && (call.is_in_place || config.stages == 0)) return config;
  config = configure_backward_rows(call, 0, limits);
  config.columns = configure_columns(call, group_rows, limits);
  return config;
}

}  // namespace rmsnorm::cuda
