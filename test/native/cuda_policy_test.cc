// The choice of kernels and grids. It consists of pure functions, so every call can be checked
// without a device. Each check covers what the choice promises to the kernels and to the driver.

#include "cuda/launch/policy.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <set>
#include <string>

#include "cuda_policy_support.h"

namespace rmsnorm::cuda {
namespace {

void check_forward(Complaints& complaints, const Call& call) {
  const LaunchConfig launch = configure_forward(call);
  const bool is_short = call.shape.hidden_size <= kResidentColumns;
  complaints.require(launch.kernel != nullptr || !is_short || call.is_quantized,
                     "short rows without a kernel", call);
  if (launch.kernel == nullptr) {
    for (const Limits& limits : kLimits) {
      check_long(complaints, call, configure_long_forward(call, limits), Kind::kFoldForward,
                 Kind::kScaleRows);
    }
    return;
  }
  const int index = launch.kernel->index;
  if (call.has_gate) {
    const Policy& policy = kGatedPolicies[index];
    check_launch(complaints, call, launch, Kind::kForwardGated, policy.max_threads);
    check_tiles(complaints, call, launch.block_x, policy.tiles);
    complaints.require(!call.is_quantized, "a kernel without codes", call);
  } else if (const Kind kind = launch.kernel->kind; kind != Kind::kForward) {
    const FastForwardPolicy& policy = kFastForwardPolicies[index];
    complaints.require(call.is_fast && call.shape.hidden_size % kAccumulators == 0,
                       "a fast kernel of another call", call);
    check_launch(complaints, call, launch,
                 call.is_llama_order ? Kind::kForwardLlama : Kind::kForwardFloat,
                 policy.max_threads);
    check_tiles(complaints, call, launch.block_x, policy.tiles);
    complaints.require(policy.packs == kTileColumns / kAccumulators ||
                           call.shape.hidden_size <= policy.packs * kAccumulators,
                       "packs that no thread holds", call);
  } else {
    const Policy& policy = kForwardPolicies[index];
    check_launch(complaints, call, launch, Kind::kForward, policy.max_threads);
    check_tiles(complaints, call, launch.block_x, policy.tiles);
  }
  complaints.require(launch.blocks == ceil_div(call.shape.rows, launch.block_y), "not all rows",
                     call, launch.blocks);
  const std::int64_t groups = launch.block_x / tile_lanes(call);
  const std::int64_t scratch = launch.block_x > kWarpLanes ? 4 * groups * launch.block_y : 0;
  complaints.require(launch.shared_bytes >= scratch && launch.shared_bytes <= 4 << 10,
                     "shared memory", call, launch.shared_bytes);
}

// Adds the kernels of the launches to `reached`.
void reach(std::set<std::string>& reached, std::initializer_list<LaunchConfig> launches) {
  for (const LaunchConfig& launch : launches) {
    if (launch.kernel != nullptr) reached.insert(launch.kernel->name);
  }
}

TEST_CASE("cuda policy: every forward has kernels that hold its rows") {
  Complaints complaints;
  for_each_call([&](const Call& call) { check_forward(complaints, call); });
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: reduce_dweight covers every group and every column once") {
  Complaints complaints;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t size : {1, 31, 32, 33, 4096, 70000}) {
      const Call call{{0, size}, dtype, dtype, 16};
      for (std::int64_t groups = 0; groups <= kMaxRowGroups; ++groups) {
        const ReduceConfig config = configure_reduce_dweight(size, dtype, groups);
        const std::int64_t slices = config.launch.block_y;
        check_launch(complaints, call, config.launch, Kind::kReduceDweight,
                     kReduceColumns * kMaxSlices);
        complaints.require(config.launch.blocks == ceil_div(size, kReduceColumns), "columns", call,
                           groups);
        complaints.require(slices * config.slice_groups >= groups, "groups left out", call, groups);
        // Slices are subtrees only if both are powers of two.
        complaints.require(slices == bit_ceil(slices) && slices <= kMaxSlices, "slices", call,
                           groups);
        complaints.require(config.slice_groups == bit_ceil(config.slice_groups) &&
                               config.slice_groups <= kMaxSliceGroups,
                           "groups of a slice", call, groups);
      }
    }
  }
  CHECK(complaints.text() == "");
}

// Forward's launcher makes several launches if there are more blocks than a grid may have.
TEST_CASE("cuda policy: grids of 2^40 elements are within the driver's limit") {
  Complaints complaints;
  const auto check = [&](const Call& call, const LaunchConfig& launch) {
    complaints.require(launch.blocks >= 1 && launch.blocks <= kMaxBlocks, "a grid", call,
                       launch.blocks);
  };
  for (std::int64_t size = 1; size <= kMostElements / 2; size = size < 32 ? size + 1 : size * 2) {
    const std::int64_t rows = kMostElements / size;
    for_each_call(size, rows, [&](const Call& call) {
      const auto check_waves = [&](LongConfig config) {
        const std::int64_t wave = std::min(config.wave_rows, rows);
        config.fold.blocks *= wave;
        config.sum_splits.blocks *= wave;
        config.second_pass.blocks *= ceil_div(wave, config.group_rows);
        for (const LaunchConfig& launch : {config.fold, config.sum_splits, config.second_pass}) {
          check(call, launch);
        }
      };
      for (const Limits& limits : kLimits) {
        if (configure_forward(call).kernel == nullptr) {
          check_waves(configure_long_forward(call, limits));
        }
        for (const std::int64_t group_rows : {std::int64_t{0}, row_group_rows(rows)}) {
          const BackwardConfig config = configure_backward(call, group_rows, limits);
          // Groups of 2^31 rows mean 2^40 rows: with a gate they exceed the memory of any device.
          if (config.rows.kernel == nullptr && group_rows > kMaxBlocks) continue;
          if (config.rows.kernel == nullptr) {
            check_waves(configure_long_backward(call, group_rows, limits));
            continue;
          }
          check(call, config.rows);
          if (config.columns.kernel != nullptr) check(call, config.columns);
        }
      }
    });
  }
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: every kernel of the table serves some call, and names are unique") {
  std::set<std::string> reached;
  for_each_call([&](const Call& call) {
    const LongConfig forward = configure_long_forward(call, kLimits[0]);
    reach(reached, {configure_forward(call)});
    // Rows that fit a block never use the configuration of longer rows.
    if (configure_forward(call).kernel == nullptr) {
      reach(reached, {forward.fold, forward.sum_splits, forward.second_pass});
    }
    for (const Limits& limits : kLimits) {
      const LaunchConfig rows = configure_backward(call, kMinGroupRows, limits).rows;
      reach(reached, {rows});
      if (rows.kernel != nullptr) continue;
      const LongConfig backward = configure_long_backward(call, kMinGroupRows, limits);
      reach(reached, {backward.fold, backward.sum_splits, backward.second_pass});
    }
  });
  for (const DType dtype : kDTypes)
    reach(reached, {configure_reduce_dweight(4096, dtype, 1).launch});

  std::set<std::string> names;
  for (const KernelEntry& entry : kernel_registry()) {
    CHECK_MESSAGE(names.insert(entry.name).second, entry.name << " is listed twice");
    CHECK_MESSAGE(reached.count(entry.name) == 1, entry.name << " is never launched");
  }
  CHECK(reached.size() == names.size());
}

TEST_CASE("cuda policy: each kernel of the table is found by its key, and by no other") {
  std::size_t number = 0;
  for (const KernelEntry& entry : kernel_registry()) {
    CHECK(kernel_number(entry) == number++);
    for (const DType weight : kAllDTypes) {
      const KernelEntry* found =
          find_kernel(entry.kind, entry.index, entry.access, entry.dtype, weight);
      if (entry.has_any_weight || entry.weight_dtype == weight) {
        CHECK_MESSAGE(found == &entry, entry.name);
      } else if (found != nullptr) {
        CHECK_MESSAGE(found->weight_dtype == weight, entry.name);
      }
    }
  }
  CHECK(number == kKernelCount);
  for (const DType weight : kAllDTypes) {
    CHECK(find_kernel(Kind::kForward, 0, Access::kPacks, DType::kFloat64, weight) == nullptr);
    CHECK(find_kernel(Kind::kReduceDweight, 1, Access::kPacks, DType::kFloat32, weight) == nullptr);
    CHECK(find_kernel(Kind::kScaleRows, 0, Access::kPacks, DType::kFloat32, weight) == nullptr);
  }
}

}  // namespace
}  // namespace rmsnorm::cuda
