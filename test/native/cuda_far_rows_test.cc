// Rows so far apart that their offsets exceed 31 bits in elements and 32 bits in bytes. Memory of a
// simulated device costs nothing until it is written.

#include <doctest/doctest.h>

#include <cstdint>

#include "cuda/launch/launch.h"
#include "cuda_support.h"

namespace rmsnorm::test {
namespace {

constexpr std::int64_t kRows = 4;
constexpr std::int64_t kFar = std::int64_t{1} << 30;  // elements

// The layouts of a matrix: one batch of rows, or two.
constexpr Rows kLayouts[] = {
    {.data = nullptr, .row_stride = kFar + 16},
    {.data = nullptr, .row_stride = kFar, .batch_rows = 2, .batch_stride = 2 * kFar + 16},
};

// Matrices side by side in one allocation, as those of a fused projection are.
class FarMatrices {
 public:
  FarMatrices(const Gpu& gpu, const Rows& layout, const Matrix& like, std::int64_t count)
      : gpu_(gpu), layout_(layout), size_(element_size(like.dtype())), columns_(like.columns()) {
    must(memory_.allocate((row_offset(layout, kRows - 1) + count * columns_) * size_));
  }

  Rows rows(std::int64_t matrix) const {
    Rows rows = layout_;
    rows.data = reinterpret_cast<void*>(address(matrix, 0));
    return rows;
  }
  ConstRows const_rows(std::int64_t matrix) const {
    const Rows same = rows(matrix);
    return {same.data, same.row_stride, same.batch_rows, same.batch_stride};
  }

  void put(std::int64_t matrix, const Matrix& host) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      must(copy_to_device(address(matrix, r), host.row(r), columns_ * size_, gpu_.stream()));
    }
  }
  void take(std::int64_t matrix, Matrix& host) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      must(copy_to_host(host.row(r), address(matrix, r), columns_ * size_, gpu_.stream()));
    }
    must(gpu_.stream().synchronize());
  }

 private:
  cuda::CUdeviceptr address(std::int64_t matrix, std::int64_t r) const {
    const std::int64_t element = matrix * columns_ + row_offset(layout_, r);
    return memory_.get() + static_cast<cuda::CUdeviceptr>(element * size_);
  }

  const Gpu& gpu_;
  Rows layout_;
  std::int64_t size_;
  std::int64_t columns_;
  cuda::DeviceMemory memory_;
};

Problem problem_of(std::int64_t hidden_size, DType dtype) {
  return {.shape = {kRows, hidden_size},
          .dtype = dtype,
          .weight = WeightKind::kSame,
          .options = {},
          .dweight_dtype = dtype,
          .accumulate = false,
          .values = Values::kFinite,
          .seed = static_cast<std::uint64_t>(hidden_size),
          .residual = true};
}

std::string far_forward(Gpu& gpu, const Rows& layout, const Problem& problem) {
  ForwardBuffers buffers(problem, {});
  FarMatrices matrices(gpu, layout, buffers.x, 4);
  DeviceMatrix weight(gpu, buffers.weight);
  DeviceMatrix rstd(gpu, buffers.rstd);
  matrices.put(0, buffers.x);
  matrices.put(1, buffers.residual);
  ForwardArgs args = buffers.args;
  args.x = matrices.const_rows(0);
  args.residual = matrices.const_rows(1);
  args.y = matrices.rows(2);
  args.sum = matrices.rows(3);
  args.weight.data = weight.row(0);
  args.rstd = rstd.row(0);

  cuda::DeviceMemory workspace;
  must(workspace.allocate(cuda::forward_workspace_bytes(gpu.device(), args)));
  must(cuda::launch_forward(gpu.device(), args, workspace.get(), gpu.stream().get()));
  matrices.take(0, buffers.x);
  matrices.take(1, buffers.residual);
  matrices.take(2, buffers.y);
  matrices.take(3, buffers.sum_out);
  const std::string text = rstd.copy_back("rstd");
  return text + complaint(problem, {}, expected_forward(problem), buffers);
}

std::string far_backward(Gpu& gpu, const Rows& layout, const Problem& problem) {
  const std::int64_t group_rows = row_group_rows(kRows);  // one group
  BackwardBuffers buffers(problem, {});
  FarMatrices matrices(gpu, layout, buffers.x, 4);
  DeviceMatrix weight(gpu, buffers.weight);
  DeviceMatrix dweight(gpu, buffers.dweight);
  matrices.put(0, buffers.dy);
  matrices.put(1, buffers.x);
  matrices.put(2, buffers.dsum);
  BackwardArgs args = buffers.args;
  args.dy = matrices.const_rows(0);
  args.x = matrices.const_rows(1);
  args.dsum = matrices.const_rows(2);
  args.dx = matrices.rows(3);
  args.weight.data = weight.row(0);
  args.dweight = dweight.row(0);

  cuda::DeviceMemory workspace;
  cuda::DeviceMemory partials;
  must(workspace.allocate(cuda::backward_workspace_bytes(gpu.device(), args, group_rows)));
  must(partials.allocate(cuda::partial_row_bytes(problem.shape.hidden_size)));
  must(cuda::launch_backward(gpu.device(), args, group_rows, partials.get(), workspace.get(),
                             gpu.stream().get()));
  must(cuda::launch_reduce_dweight(gpu.device(), args, partials.get(), 1, gpu.stream().get()));
  matrices.take(0, buffers.dy);
  matrices.take(1, buffers.x);
  matrices.take(2, buffers.dsum);
  matrices.take(3, buffers.dx);
  const std::string text = dweight.copy_back("dweight");
  return text + complaint(problem, {}, expected_backward(problem), buffers);
}

TEST_CASE("cuda launch: rows may lie 2^30 elements apart") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  for (const Rows& layout : kLayouts) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      for (const std::int64_t hidden_size : {7, 64, 1024, 5128, 20000}) {
        const Problem problem = problem_of(hidden_size, dtype);
        INFO(describe(problem) << ", batches of " << layout.batch_rows << " rows");
        CHECK(far_forward(gpu, layout, problem) == "");
        CHECK(far_backward(gpu, layout, problem) == "");
      }
    }
  }
}

}  // namespace
}  // namespace rmsnorm::test
