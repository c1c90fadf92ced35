// The choice of kernels and grids: pure functions, so that every problem can be asked about without
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

// Calls function(problem) for every dtype, weight and access that rows of this size can have.
template <class Function>
void for_each_problem(std::int64_t hidden_size, std::int64_t rows, const Function& function) {
  for (const DType dtype : kDTypes) {
    for (const DType weight_dtype : {dtype, DType::kFloat32}) {
      for (int access = element_size(dtype); access <= 16; access *= 2) {
        if (hidden_size * element_size(dtype) % access != 0) continue;
        function(Problem{{rows, hidden_size}, dtype, weight_dtype, access});
      }
    }
  }
}

template <class Function>
void for_each_problem(const Function& function) {
  for (const std::int64_t size : hidden_sizes()) for_each_problem(size, 1000, function);
}

std::string describe(const Problem& problem) {
  return std::to_string(problem.shape.rows) + "x" + std::to_string(problem.shape.hidden_size) +
         ", dtype " + std::to_string(static_cast<int>(problem.dtype)) + ", weight " +
         std::to_string(static_cast<int>(problem.weight_dtype)) + ", access " +
         std::to_string(problem.access_bytes);
}

// The first thing that is wrong; doctest's own assertions are too slow for so many.
class Complaints {
 public:
  void require(bool holds, const char* what, const Problem& problem, std::int64_t extra = 0) {
    if (holds || !text_.empty()) return;
    text_ = std::string(what) + ": " + describe(problem) + ", " + std::to_string(extra);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::int64_t padded_tiles(const Problem& problem) {
  return bit_ceil(tile_count(problem.shape.hidden_size));
}
std::int64_t tile_lanes(const Problem& problem) {
  return kAccumulators * element_size(problem.dtype) / 16;
}
std::int64_t row_packs(const Problem& problem) {
  return ceil_div(problem.shape.hidden_size * element_size(problem.dtype), 16);
}

// What every launch must have: a kernel of the problem's types that reaches its rows, whole warps,
// no more threads than the kernel is compiled for.
void check_launch(Complaints& complaints, const Problem& problem, const Launch& launch, Kind kind,
                  int max_threads) {
  complaints.require(launch.kernel != nullptr, "no kernel", problem);
  if (launch.kernel == nullptr) return;
  const KernelRow& kernel = *launch.kernel;
  const std::int64_t threads = std::int64_t{launch.block_x} * launch.block_y;
  complaints.require(kernel.kind == kind, "a kernel of another kind", problem);
  complaints.require(threads > 0 && threads % kWarpLanes == 0, "no whole warps", problem, threads);
  complaints.require(threads <= max_threads, "too many threads", problem, threads);
  complaints.require(kernel.dtype == problem.dtype, "a kernel of another dtype", problem);
  complaints.require(kernel.has_any_weight || kernel.weight_dtype == problem.weight_dtype,
                     "a kernel of another weight", problem);
  complaints.require(kernel.access == Access::kParts || problem.access_bytes == 16,
                     "packs where rows do not allow them", problem);
}

// Threads of a row that hold `tiles` tiles each hold all of the tree over its tiles, no less and no
// more: the kernels' halvings rely on it.
void check_tiles(Complaints& complaints, const Problem& problem, std::int64_t threads,
                 std::int64_t tiles) {
  complaints.require(threads % tile_lanes(problem) == 0, "a part of a tile", problem, threads);
  complaints.require(threads / tile_lanes(problem) * tiles == padded_tiles(problem),
                     "not the padded tiles", problem, threads);
}

void check_long(Complaints& complaints, const Problem& problem, const LongPlan& plan, Kind fold,
                Kind finish) {
  check_launch(complaints, problem, plan.fold, fold, kLongThreads);
  check_launch(complaints, problem, plan.finish_sums, fold, kLongThreads);
  check_launch(complaints, problem, plan.finish, finish, kLongThreads);
  check_tiles(complaints, problem, plan.fold.block_x, plan.splits);
  complaints.require(plan.sums_floats == 2 * problem.shape.rows * plan.splits,
                     "not the floats of both sums", problem, plan.sums_floats);
  const std::int64_t sums = fold == Kind::kFoldBackward ? 2 : 1;
  const std::int64_t groups = plan.fold.block_x / tile_lanes(problem);
  complaints.require(plan.fold.shared_bytes == sums * groups * 4, "not a float for each group",
                     problem, plan.fold.shared_bytes);
}

void check_forward(Complaints& complaints, const Problem& problem) {
  const Launch launch = plan_forward(problem);
  if (launch.kernel == nullptr) {
    return check_long(complaints, problem, plan_long_forward(problem), Kind::kFoldForward,
                      Kind::kScaleRows);
  }
  const Policy& policy = kForwardPolicies[launch.kernel->index];
  check_launch(complaints, problem, launch, Kind::kForward, policy.max_threads);
  check_tiles(complaints, problem, launch.block_x, policy.tiles);
  complaints.require(launch.blocks == ceil_div(problem.shape.rows, launch.block_y), "not all rows",
                     problem, launch.blocks);
  const std::int64_t groups = launch.block_x / tile_lanes(problem);
  const std::int64_t scratch = launch.block_x > kWarpLanes ? 4 * groups * launch.block_y : 0;
  complaints.require(launch.shared_bytes >= scratch && launch.shared_bytes <= 4 << 10,
                     "shared memory", problem, launch.shared_bytes);
}

void check_step(Complaints& complaints, const Problem& problem, const BackwardPlan& plan,
                int shared_limit) {
  const Launch& launch = plan.rows;
  const StepPolicy& policy = kStepPolicies[launch.kernel->index];
  check_launch(complaints, problem, launch, Kind::kBackwardStep, policy.max_threads);
  check_tiles(complaints, problem, launch.block_x, 1);
  const std::int64_t rows = launch.block_y;
  complaints.require(rows >= 2 && rows <= plan.group_rows, "rows of a step", problem, rows);
  // Threads share a row's packs; a thread has sums for so many.
  complaints.require(row_packs(problem) <= policy.packs * rows * launch.block_x,
                     "packs that no thread sums", problem, rows);
  const std::int64_t row_bytes = 2 * 16 * row_packs(problem);
  const std::int64_t scratch = rows * 4 * (2 * (launch.block_x / tile_lanes(problem)) + 1);
  complaints.require(rows * row_bytes <= kStepSharedBytes, "x and dy of a step", problem, rows);
  complaints.require(launch.shared_bytes >= rows * row_bytes + scratch, "no room for the sums",
                     problem, launch.shared_bytes);
  complaints.require(launch.shared_bytes <= kStepSharedBytes + scratch, "shared memory", problem,
                     launch.shared_bytes);
  complaints.require(launch.shared_bytes <= static_cast<unsigned>(shared_limit),
                     "more shared memory than the device has", problem, shared_limit);
}

void check_backward(Complaints& complaints, const Problem& problem, std::int64_t group_rows,
                    int shared_limit) {
  const BackwardPlan plan = plan_backward(problem, group_rows, shared_limit);
  const Launch& launch = plan.rows;
  // backward_workspace_bytes asks with another group_rows than launch_backward.
  const bool is_long = plan_backward(problem, 0, shared_limit).rows.kernel == nullptr;
  complaints.require(is_long == (launch.kernel == nullptr), "group_rows decides on the workspace",
                     problem, group_rows);
  if (launch.kernel == nullptr) {
    const LongPlan whole = plan_long_backward(problem, group_rows);
    complaints.require(whole.group_rows == (group_rows == 0 ? kMinGroupRows : group_rows),
                       "another group", problem, whole.group_rows);
    return check_long(complaints, problem, whole, Kind::kFoldBackward, Kind::kBackwardColumns);
  }
  complaints.require(group_rows == 0 || plan.group_rows == group_rows, "another group", problem,
                     plan.group_rows);
  complaints.require(launch.blocks == ceil_div(problem.shape.rows, plan.group_rows), "not all rows",
                     problem, launch.blocks);
  if (launch.kernel->kind == Kind::kBackwardStep) {
    return check_step(complaints, problem, plan, shared_limit);
  }
  const Policy& policy = kSinglePolicies[launch.kernel->index];
  check_launch(complaints, problem, launch, Kind::kBackwardSingle, policy.max_threads);
  check_tiles(complaints, problem, launch.block_x, policy.tiles);
  const std::int64_t groups = launch.block_x / tile_lanes(problem);
  complaints.require(launch.block_y == 1 && launch.shared_bytes == 4 * 4 * groups, "shared memory",
                     problem, launch.shared_bytes);
}

// The kernels that plans name, as reach() finds them.
void reach(std::set<std::string>& reached, std::initializer_list<Launch> launches) {
  for (const Launch& launch : launches) {
    if (launch.kernel != nullptr) reached.insert(launch.kernel->name);
  }
}

TEST_CASE("cuda policy: every forward has kernels that hold its rows") {
  Complaints complaints;
  for_each_problem([&](const Problem& problem) { check_forward(complaints, problem); });
  CHECK(complaints.text() == "");
}

TEST_CASE(
    "cuda policy: every backward has kernels that hold its rows, in the shared memory given") {
  Complaints complaints;
  for_each_problem([&](const Problem& problem) {
    for (const int limit : kSharedLimits) {
      for (const std::int64_t group_rows : {0, 16, 4096}) {
        check_backward(complaints, problem, group_rows, limit);
      }
    }
  });
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: the end of dweight takes in every group and every column once") {
  Complaints complaints;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t size : {1, 31, 32, 33, 4096, 70000}) {
      const Problem problem{{0, size}, dtype, dtype, 16};
      for (std::int64_t groups = 0; groups <= kMaxRowGroups; ++groups) {
        const FinishPlan plan = plan_finish_dweight(size, dtype, groups);
        const std::int64_t parts = plan.launch.block_y;
        check_launch(complaints, problem, plan.launch, Kind::kFinishDweight,
                     kFinishColumns * kMaxFinishParts);
        complaints.require(plan.launch.blocks == ceil_div(size, kFinishColumns), "columns", problem,
                           groups);
        complaints.require(parts * plan.part_groups >= groups, "groups left out", problem, groups);
        // Parts are subtrees only if both are powers of two.
        complaints.require(parts == bit_ceil(parts) && parts <= kMaxFinishParts, "parts", problem,
                           groups);
        complaints.require(
            plan.part_groups == bit_ceil(plan.part_groups) && plan.part_groups <= kMaxPartGroups,
            "groups of a part", problem, groups);
      }
    }
  }
  CHECK(complaints.text() == "");
}

// The launcher of forward makes several launches where there are more blocks than a grid has.
TEST_CASE("cuda policy: grids of 2^40 elements are within the driver's limit") {
  Complaints complaints;
  const auto check = [&](const Problem& problem, const Launch& launch) {
    complaints.require(launch.blocks >= 1 && launch.blocks <= kMaxBlocks, "a grid", problem,
                       launch.blocks);
  };
  for (std::int64_t size = 1; size <= kMostElements / 2; size = size < 32 ? size + 1 : size * 2) {
    const std::int64_t rows = kMostElements / size;
    for_each_problem(size, rows, [&](const Problem& problem) {
      if (plan_forward(problem).kernel == nullptr) {
        const LongPlan plan = plan_long_forward(problem);
        for (const Launch& launch : {plan.fold, plan.finish_sums, plan.finish}) {
          check(problem, launch);
        }
      }
      for (const std::int64_t group_rows : {std::int64_t{0}, row_group_rows(rows)}) {
        const BackwardPlan plan = plan_backward(problem, group_rows, kSharedLimits[0]);
        if (plan.rows.kernel != nullptr) {
          check(problem, plan.rows);
          continue;
        }
        const LongPlan whole = plan_long_backward(problem, group_rows);
        for (const Launch& launch : {whole.fold, whole.finish_sums, whole.finish}) {
          check(problem, launch);
        }
      }
    });
  }
  CHECK(complaints.text() == "");
}

TEST_CASE("cuda policy: every kernel of the table is some problem's, and names are unique") {
  std::set<std::string> reached;
  for_each_problem([&](const Problem& problem) {
    const LongPlan forward = plan_long_forward(problem);
    reach(reached, {plan_forward(problem)});
    // Rows that a block holds never come to the plans of longer ones.
    if (plan_forward(problem).kernel == nullptr) {
      reach(reached, {forward.fold, forward.finish_sums, forward.finish});
    }
    for (const int limit : kSharedLimits) {
      const Launch rows = plan_backward(problem, kMinGroupRows, limit).rows;
      reach(reached, {rows});
      if (rows.kernel != nullptr) continue;
      const LongPlan backward = plan_long_backward(problem, kMinGroupRows);
      reach(reached, {backward.fold, backward.finish_sums, backward.finish});
    }
  });
  for (const DType dtype : kDTypes) reach(reached, {plan_finish_dweight(4096, dtype, 1).launch});

  std::set<std::string> names;
  for (const KernelRow& row : kernel_rows()) {
    CHECK_MESSAGE(names.insert(row.name).second, row.name << " is there twice");
    CHECK_MESSAGE(reached.count(row.name) == 1, row.name << " is never launched");
  }
  CHECK(reached.size() == names.size());
}

TEST_CASE("cuda policy: each row of the table is found by what it is for, and nothing else is") {
  std::size_t number = 0;
  for (const KernelRow& row : kernel_rows()) {
    CHECK(kernel_number(row) == number++);
    for (const DType weight : kAllDTypes) {
      const KernelRow* found = find_kernel(row.kind, row.index, row.access, row.dtype, weight);
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
