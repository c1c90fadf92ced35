// The choice of kernels and grids: pure functions, so that every call can be asked about without
// a device. What they promise the kernels and the driver is checked for each.

#include "cuda/launch/policy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "op/fold.h"

namespace rmsnorm::cuda {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                                DType::kFloat64};
constexpr std::int64_t kMostElements = std::int64_t{1} << 40;
// Without opting in, and with it on sm_75, sm_86 and sm_90.
constexpr int kSharedLimits[] = {48 << 10, 64 << 10, 99 << 10, 227 << 10};

// All short rows, and the sizes about which a choice can change beyond them.
std::vector<std::int64_t> hidden_sizes() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 1; size <= 5200; ++size) sizes.push_back(size);
  for (std::int64_t tiles = 20; tiles <= 320; ++tiles) {
    for (const int off : {-8, -4, -1, 0, 1, 4, 8}) sizes.push_back(kTileColumns * tiles + off);
  }
  for (std::int64_t size = std::int64_t{1} << 17; size <= std::int64_t{1} << 32; size *= 2) {
    for (const int off : {-1, 0, 1, 8}) sizes.push_back(size + off);
  }
  return sizes;
}

// Calls function(call) for every dtype, weight and access that rows of this size can have.
template <class Function>
void for_each_call(std::int64_t hidden_size, std::int64_t rows, const Function& function) {
  for (const DType dtype : kDTypes) {
    for (const DType weight_dtype : {dtype, DType::kFloat32}) {
      for (int access = element_size(dtype); access <= 16; access *= 2) {
        if (hidden_size * element_size(dtype) % access != 0) continue;
        function(Call{{rows, hidden_size}, dtype, weight_dtype, access});
      }
    }
  }
}

template <class Function>
void for_each_call(const Function& function) {
  for (const std::int64_t size : hidden_sizes()) for_each_call(size, 1000, function);
}

std::string describe(const Call& call) {
  return std::to_string(call.shape.rows) + "x" + std::to_string(call.shape.hidden_size) +
         ", dtype " + std::to_string(static_cast<int>(call.dtype)) + ", weight " +
         std::to_string(static_cast<int>(call.weight_dtype)) + ", access " +
         std::to_string(call.access_bytes);
}

// The first thing that is wrong; doctest's own assertions are too slow for so many.
class Complaints {
 public:
  void require(bool holds, const char* what, const Call& call, std::int64_t extra = 0) {
    if (holds || !text_.empty()) return;
    text_ = std::string(what) + ": " + describe(call) + ", " + std::to_string(extra);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::int64_t padded_tiles(const Call& call) { return bit_ceil(tile_count(call.shape.hidden_size)); }
std::int64_t tile_lanes(const Call& call) { return kAccumulators * element_size(call.dtype) / 16; }
std::int64_t row_packs(const Call& call) {
  return ceil_div(call.shape.hidden_size * element_size(call.dtype), 16);
}

// What every launch must have: a kernel of the call's types that reaches its rows, whole warps,
// no more threads than the kernel is compiled for.
void check_launch(Complaints& complaints, const Call& call, const LaunchConfig& launch, Kind kind,
                  int max_threads) {
  complaints.require(launch.kernel != nullptr, "no kernel", call);
  if (launch.kernel == nullptr) return;
  const KernelEntry& kernel = *launch.kernel;
  const std::int64_t threads = std::int64_t{launch.block_x} * launch.block_y;
  complaints.require(kernel.kind == kind, "a kernel of another kind", call);
  complaints.require(threads > 0 && threads % kWarpLanes == 0, "no whole warps", call, threads);
  complaints.require(threads <= max_threads, "too many threads", call, threads);
  complaints.require(kernel.dtype == call.dtype, "a kernel of another dtype", call);
  complaints.require(kernel.has_any_weight || kernel.weight_dtype == call.weight_dtype,
                     "a kernel of another weight", call);
  complaints.require(kernel.access == Access::kParts || call.access_bytes == 16,
                     "packs where rows do not allow them", call);
}

// Threads of a row that hold `tiles` tiles each hold all of the tree over its tiles, no less and no
// more: the kernels' halvings rely on it.
void check_tiles(Complaints& complaints, const Call& call, std::int64_t threads,
                 std::int64_t tiles) {
  complaints.require(threads % tile_lanes(call) == 0, "a part of a tile", call, threads);
  complaints.require(threads / tile_lanes(call) * tiles == padded_tiles(call),
                     "not the padded tiles", call, threads);
}

void check_long(Complaints& complaints, const Call& call, const LongConfig& config, Kind fold,
                Kind finish) {
  check_launch(complaints, call, config.fold, fold, kLongThreads);
  check_launch(complaints, call, config.finish_sums, fold, kLongThreads);
  check_launch(complaints, call, config.finish, finish, kLongThreads);
  check_tiles(complaints, call, config.fold.block_x, config.splits);
  complaints.require(config.sums_floats == 2 * call.shape.rows * config.splits,
                     "not the floats of both sums", call, config.sums_floats);
  const std::int64_t sums = fold == Kind::kFoldBackward ? 2 : 1;
  const std::int64_t groups = config.fold.block_x / tile_lanes(call);
  complaints.require(config.fold.shared_bytes == sums * groups * 4, "not a float for each group",
                     call, config.fold.shared_bytes);
}

void check_forward(Complaints& complaints, const Call& call) {
  const LaunchConfig launch = configure_forward(call);
  if (launch.kernel == nullptr) {
    return check_long(complaints, call, configure_long_forward(call), Kind::kFoldForward,
                      Kind::kScaleRows);
  }
  const Policy& policy = kForwardPolicies[launch.kernel->index];
  check_launch(complaints, call, launch, Kind::kForward, policy.max_threads);
  check_tiles(complaints, call, launch.block_x, policy.tiles);
  complaints.require(launch.blocks == ceil_div(call.shape.rows, launch.block_y), "not all rows",
                     call, launch.blocks);
  const std::int64_t groups = launch.block_x / tile_lanes(call);
  const std::int64_t scratch = launch.block_x > kWarpLanes ? 4 * groups * launch.block_y : 0;
  complaints.require(launch.shared_bytes >= scratch && launch.shared_bytes <= 4 << 10,
                     "shared memory", call, launch.shared_bytes);
}

void check_step(Complaints& complaints, const Call& call, const BackwardConfig& config,
                int shared_limit) {
  const LaunchConfig& launch = config.rows;
  const StepPolicy& policy = kStepPolicies[launch.kernel->index];
  check_launch(complaints, call, launch, Kind::kBackwardStep, policy.max_threads);
  check_tiles(complaints, call, launch.block_x, 1);
  const std::int64_t rows = launch.block_y;
  complaints.require(rows >= 2 && rows <= config.group_rows, "rows of a step", call, rows);
  // Threads share a row's packs; a thread has sums for so many.
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

void check_backward(Complaints& complaints, const Call& call, std::int64_t group_rows,
                    int shared_limit) {
  const BackwardConfig config = configure_backward(call, group_rows, shared_limit);
  const LaunchConfig& launch = config.rows;
  // backward_workspace_bytes asks with another group_rows than launch_backward.
  const bool is_long = configure_backward(call, 0, shared_limit).rows.kernel == nullptr;
  complaints.require(is_long == (launch.kernel == nullptr), "group_rows decides on the workspace",
                     call, group_rows);
  if (launch.kernel == nullptr) {
    const LongConfig whole = configure_long_backward(call, group_rows);
    complaints.require(whole.group_rows == (group_rows == 0 ? kMinGroupRows : group_rows),
                       "another group", call, whole.group_rows);
    return check_long(complaints, call, whole, Kind::kFoldBackward, Kind::kBackwardColumns);
  }
  complaints.require(group_rows == 0 || config.group_rows == group_rows, "another group", call,
                     config.group_rows);
  complaints.require(launch.blocks == ceil_div(call.shape.rows, config.group_rows), "not all rows",
                     call, launch.blocks);
  if (launch.kernel->kind == Kind::kBackwardStep) {
    return check_step(complaints, call, config, shared_limit);
  }
  const Policy& policy = kSinglePolicies[launch.kernel->index];
  check_launch(complaints, call, launch, Kind::kBackwardSingle, policy.max_threads);
  check_tiles(complaints, call, launch.block_x, policy.tiles);
  const std::int64_t groups = launch.block_x / tile_lanes(call);
  complaints.require(launch.block_y == 1 && launch.shared_bytes == 4 * 4 * groups, "shared memory",
                     call, launch.shared_bytes);
}

// The kernels that plans name, as reach() finds them.
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

TEST_CASE(
    "cuda policy: every backward has kernels that hold its rows, in the shared memory given") {
  Complaints complaints;
  for_each_call([&](const Call& call) {
    for (const int limit : kSharedLimits) {
      for (const std::int64_t group_rows : {0, 16, 4096}) {
        check_backward(complaints, call, group_rows, limit);
      }
    }
  });
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: the end of dweight takes in every group and every column once") {
  Complaints complaints;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t size : {1, 31, 32, 33, 4096, 70000}) {
      const Call call{{0, size}, dtype, dtype, 16};
      for (std::int64_t groups = 0; groups <= kMaxRowGroups; ++groups) {
        const FinishConfig config = configure_finish_dweight(size, dtype, groups);
        const std::int64_t parts = config.launch.block_y;
        check_launch(complaints, call, config.launch, Kind::kFinishDweight,
                     kFinishColumns * kMaxFinishParts);
        complaints.require(config.launch.blocks == ceil_div(size, kFinishColumns), "columns", call,
                           groups);
        complaints.require(parts * config.part_groups >= groups, "groups left out", call, groups);
        // Parts are subtrees only if both are powers of two.
        complaints.require(parts == bit_ceil(parts) && parts <= kMaxFinishParts, "parts", call,
                           groups);
        complaints.require(config.part_groups == bit_ceil(config.part_groups) &&
                               config.part_groups <= kMaxPartGroups,
                           "groups of a part", call, groups);
      }
    }
  }
  CHECK(complaints.text() == "");
}

// The launcher of forward makes several launches where there are more blocks than a grid has.
TEST_CASE("cuda policy: grids of 2^40 elements are within the driver's limit") {
  Complaints complaints;
  const auto check = [&](const Call& call, const LaunchConfig& launch) {
    complaints.require(launch.blocks >= 1 && launch.blocks <= kMaxBlocks, "a grid", call,
                       launch.blocks);
  };
  for (std::int64_t size = 1; size <= kMostElements / 2; size = size < 32 ? size + 1 : size * 2) {
    const std::int64_t rows = kMostElements / size;
    for_each_call(size, rows, [&](const Call& call) {
      if (configure_forward(call).kernel == nullptr) {
        const LongConfig config = configure_long_forward(call);
        for (const LaunchConfig& launch : {config.fold, config.finish_sums, config.finish}) {
          check(call, launch);
        }
      }
      for (const std::int64_t group_rows : {std::int64_t{0}, row_group_rows(rows)}) {
        const BackwardConfig config = configure_backward(call, group_rows, kSharedLimits[0]);
        if (config.rows.kernel != nullptr) {
          check(call, config.rows);
          continue;
        }
        const LongConfig whole = configure_long_backward(call, group_rows);
        for (const LaunchConfig& launch : {whole.fold, whole.finish_sums, whole.finish}) {
          check(call, launch);
        }
      }
    });
  }
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: every kernel of the table is some problem's, and names are unique") {
  std::set<std::string> reached;
  for_each_call([&](const Call& call) {
    const LongConfig forward = configure_long_forward(call);
    reach(reached, {configure_forward(call)});
    // Rows that a block holds never come to the plans of longer ones.
    if (configure_forward(call).kernel == nullptr) {
      reach(reached, {forward.fold, forward.finish_sums, forward.finish});
    }
    for (const int limit : kSharedLimits) {
      const LaunchConfig rows = configure_backward(call, kMinGroupRows, limit).rows;
      reach(reached, {rows});
      if (rows.kernel != nullptr) continue;
      const LongConfig backward = configure_long_backward(call, kMinGroupRows);
      reach(reached, {backward.fold, backward.finish_sums, backward.finish});
    }
  });
  for (const DType dtype : kDTypes)
    reach(reached, {configure_finish_dweight(4096, dtype, 1).launch});

  std::set<std::string> names;
  for (const KernelEntry& row : kernel_registry()) {
    CHECK_MESSAGE(names.insert(row.name).second, row.name << " is there twice");
    CHECK_MESSAGE(reached.count(row.name) == 1, row.name << " is never launched");
  }
  CHECK(reached.size() == names.size());
}

TEST_CASE("cuda policy: each row of the table is found by what it is for, and nothing else is") {
  std::size_t number = 0;
  for (const KernelEntry& row : kernel_registry()) {
    CHECK(kernel_number(row) == number++);
    for (const DType weight : kAllDTypes) {
      const KernelEntry* found = find_kernel(row.kind, row.index, row.access, row.dtype, weight);
      if (row.has_any_weight || row.weight_dtype == weight) {
        CHECK_MESSAGE(found == &row, row.name);
      } else if (found != nullptr) {
        CHECK_MESSAGE(found->weight_dtype == weight, row.name);
      }
    }
  }
  CHECK(number == kKernelCount);
  for (const DType weight : kAllDTypes) {
    CHECK(find_kernel(Kind::kForward, 0, Access::kPacks, DType::kFloat64, weight) == nullptr);
    CHECK(find_kernel(Kind::kFinishDweight, 1, Access::kPacks, DType::kFloat32, weight) == nullptr);
    CHECK(find_kernel(Kind::kScaleRows, 0, Access::kPacks, DType::kFloat32, weight) == nullptr);
  }
}

}  // namespace
}  // namespace rmsnorm::cuda
