// The choice of kernels and grids for backward.

#include <doctest/doctest.h>

#include "cuda_policy_support.h"

namespace rmsnorm::cuda {
namespace {

void check_step(Complaints& complaints, const Call& call, const BackwardConfig& config,
                int shared_limit) {
  const LaunchConfig& launch = config.rows;
  const StepPolicy& policy = kStepPolicies[launch.kernel->index];
  check_launch(complaints, call, launch, Kind::kBackwardStep, policy.max_threads);
  check_tiles(complaints, call, launch.block_x, 1);
  const std::int64_t rows = launch.block_y;
  complaints.require(rows >= 2 && rows <= config.group_rows, "rows of a step", call, rows);
  // Threads share a row's packs, and a thread has sums for policy.packs of them.
  complaints.require(row_packs(call) <= policy.packs * rows * launch.block_x,
                     "packs that no thread sums", call, rows);
  const std::int64_t row_bytes = 2 * 16 * row_packs(call);
  const std::int64_t scratch = rows * 4 * (2 * (launch.block_x / tile_lanes(call)) + 1);
  complaints.require(rows * row_bytes <= kStepSharedBytes, "x and dy of a step", call, rows);
  complaints.require(launch.shared_bytes >= rows * row_bytes + scratch, "no room for the sums",
                     call, launch.shared_bytes);
  complaints.require(launch.shared_bytes <= kStepSharedBytes + scratch, "shared memory", call,
                     launch.shared_bytes);
  complaints.require(launch.shared_bytes <= static_cast<unsigned>(shared_limit),
                     "more shared memory than the device has", call, shared_limit);
}

void check_fast(Complaints& complaints, const Call& call, const BackwardConfig& config,
                const Limits& limits) {
  const LaunchConfig& launch = config.rows;
  const FastBackwardPolicy& policy = kFastBackwardPolicies[launch.kernel->index];
  complaints.require(call.is_fast && call.shape.hidden_size % kTileColumns == 0,
                     "a fast kernel of another call", call);
  complaints.require(limits.architecture >= 80, "no asynchronous copies", call);
  check_launch(complaints, call, launch,
               call.is_llama_order ? Kind::kBackwardLlama : Kind::kBackwardFloat,
               policy.max_threads);
  check_tiles(complaints, call, launch.block_x, policy.tiles);
  complaints.require(launch.block_y == 1, "several rows at once", call, launch.block_y);
  complaints.require(config.stages >= 1 && config.stages <= kMaxFastStages &&
                         config.stages == bit_ceil(config.stages),
                     "stages that are not awaited", call, config.stages);
  const std::int64_t needed =
      config.stages * 2 * 16 * row_packs(call) + 8 * (launch.block_x / tile_lanes(call));
  complaints.require(launch.shared_bytes >= needed, "no room for the stages", call, needed);
  complaints.require(launch.shared_bytes <= static_cast<unsigned>(limits.shared_bytes),
                     "more shared memory than the device has", call, launch.shared_bytes);
}

void check_columns(Complaints& complaints, const Call& call, const LaunchConfig& columns,
                   std::int64_t group_rows) {
  check_launch(complaints, call, columns, Kind::kBackwardColumns, kLongThreads);
  complaints.require(columns.blocks == ceil_div(row_packs(call), columns.block_x) *
                                           ceil_div(call.shape.rows, group_rows),
                     "not all columns", call, columns.blocks);
}

void check_backward(Complaints& complaints, const Call& call, std::int64_t group_rows,
                    const Limits& limits) {
  const BackwardConfig config = configure_backward(call, group_rows, limits);
  const LaunchConfig& launch = config.rows;
  complaints.require(launch.kernel == nullptr || !call.has_gate, "a kernel without gates", call);
  if (launch.kernel == nullptr) {
    const LongConfig whole = configure_long_backward(call, group_rows, limits);
    complaints.require(whole.group_rows == (group_rows == 0 ? kMinGroupRows : group_rows),
                       "another group", call, whole.group_rows);
    return check_long(complaints, call, whole, Kind::kFoldBackward, Kind::kBackwardColumns);
  }
  if (config.columns.kernel != nullptr) {
    check_columns(complaints, call, config.columns, group_rows);
    complaints.require(call.has_rstd || config.stages > 0, "nobody keeps rstd", call);
  } else {
    complaints.require(group_rows == 0 || config.group_rows == group_rows, "another group", call,
                       config.group_rows);
  }
  complaints.require(launch.blocks == ceil_div(call.shape.rows, config.group_rows), "not all rows",
                     call, launch.blocks);
  complaints.require((config.stages > 0) == (launch.kernel->kind == Kind::kBackwardFloat ||
                                             launch.kernel->kind == Kind::kBackwardLlama),
                     "stages", call, config.stages);
  if (config.stages > 0) return check_fast(complaints, call, config, limits);
  if (launch.kernel->kind == Kind::kBackwardStep) {
    return check_step(complaints, call, config, limits.shared_bytes);
  }
  const Policy& policy = kSinglePolicies[launch.kernel->index];
  check_launch(complaints, call, launch, Kind::kBackwardSingle, policy.max_threads);
  check_tiles(complaints, call, launch.block_x, policy.tiles);
  const std::int64_t groups = launch.block_x / tile_lanes(call);
  complaints.require(launch.block_y == 1 && launch.shared_bytes == 4 * 4 * groups, "shared memory",
                     call, launch.shared_bytes);
}

TEST_CASE(
    "cuda policy: every backward has kernels that hold its rows in the device's shared memory") {
  Complaints complaints;
  for_each_call([&](const Call& call) {
    for (const Limits& limits : kLimits) {
      for (const std::int64_t group_rows : {0, 16, 4096}) {
        check_backward(complaints, call, group_rows, limits);
      }
    }
  });
  CHECK(complaints.text() == "");
}

// bfloat16 in Llama's cast order with a stored rstd, on an H100.
BackwardConfig on_h100(std::int64_t rows, std::int64_t hidden_size) {
  const Call call{{rows, hidden_size}, DType::kBFloat16, DType::kBFloat16, 16, true, true, true};
  return configure_backward(call, row_group_rows(rows), kLimits[3]);
}

TEST_CASE("cuda policy: few row groups get a launch of columns, so every multiprocessor has work") {
  for (const std::int64_t rows : {64, 128, 512}) {
    const BackwardConfig config = on_h100(rows, 4096);
    REQUIRE(config.columns.kernel != nullptr);
    CHECK(config.rows.blocks >= std::min<std::int64_t>(rows, 132));
    CHECK(config.columns.blocks >= 64);
  }
  for (const std::int64_t rows : {1, 7, 1024, 8192}) {
    CHECK(on_h100(rows, 4096).columns.kernel == nullptr);
  }
}

TEST_CASE("cuda policy: an in-place backward without rstd has no launch of columns") {
  for (const bool has_rstd : {false, true}) {
    for (const bool is_in_place : {false, true}) {
      const Call call{{64, 4096}, DType::kFloat32, DType::kFloat32, 16,
                      true,       false,           has_rstd,        is_in_place};
      const BackwardConfig config = configure_backward(call, kMinGroupRows, kLimits[3]);
      CHECK((config.columns.kernel != nullptr) == (has_rstd || !is_in_place));
    }
  }
}

TEST_CASE("cuda policy: blocks of a fast backward fill their waves and keep 64 KiB in flight") {
  for (const std::int64_t rows : {2048, 4096, 8192, 12288, 16384, 65536}) {
    const BackwardConfig config = on_h100(rows, 4096);
    const std::int64_t shared = config.rows.shared_bytes + kReservedSharedBytes;
    const std::int64_t resident = std::min<std::int64_t>(228 * 1024 / shared, 512 / 128);
    const std::int64_t slots = 132 * std::min(resident, ceil_div(config.rows.blocks, 132));
    const std::int64_t waves = ceil_div(config.rows.blocks, slots);
    CAPTURE(rows);
    CHECK(waves * slots <= config.rows.blocks * 115 / 100);
    CHECK(std::min(resident, ceil_div(config.rows.blocks, 132)) * config.stages * 16384 >= 65536);
  }
}

}  // namespace
}  // namespace rmsnorm::cuda
