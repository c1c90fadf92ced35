#include "cuda_launch_support.h"

#include <algorithm>
#include <cstring>

#include "cuda/launch/launch.h"

namespace rmsnorm::test {
namespace {

Weight weight_on_device(const Weight& host, const DeviceMatrix& weight) {
  return host.data == nullptr ? host : Weight{weight.row(0), host.dtype};
}

// The matrix that receives an output: its own, or an input that it overwrites.
struct Outputs {
  const DeviceMatrix& own;
  const DeviceMatrix& x;
  const DeviceMatrix& dy;
  const DeviceMatrix& residual;

  const DeviceMatrix& at(InPlace target) const {
    return target == InPlace::kX          ? x
           : target == InPlace::kDy       ? dy
           : target == InPlace::kResidual ? residual
                                          : own;
  }
};

// Scalar's results, with row groups of any size.
struct ExpectedBackward {
  ExpectedBackward(const Problem& problem, std::int64_t group_rows)
      : buffers(problem, {}),
        partials(DType::kFloat32, ceil_div(problem.shape.rows, group_rows),
                 cpu::partial_stride(problem.shape.hidden_size)) {
    const std::int64_t rows = problem.shape.rows;
    for (std::int64_t group = 0; group < partials.rows(); ++group) {
      const cpu::Range range{group * group_rows, std::min((group + 1) * group_rows, rows)};
      cpu::kScalar.backward(buffers.args, range, cpu::Stores::kCached, nullptr,
                            static_cast<float*>(partials.row(group)));
    }
    cpu::kScalar.reduce_dweight(buffers.args, static_cast<const float*>(partials.row(0)),
                                partials.rows(), {0, partials.columns()});
  }

  BackwardBuffers buffers;
  Matrix partials;
};

}  // namespace

std::string forward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout,
                              const Placements& placements) {
  ForwardBuffers buffers(problem, layout);
  DeviceMatrix x(gpu, buffers.x, placements.x);
  DeviceMatrix weight(gpu, buffers.weight, placements.weight);
  DeviceMatrix y(gpu, buffers.y, placements.out);
  DeviceMatrix rstd(gpu, buffers.rstd, placements.rstd);
  DeviceMatrix residual(gpu, buffers.residual, placements.residual);
  DeviceMatrix sum_out(gpu, buffers.sum_out, placements.sum_out);
  DeviceMatrix gate(gpu, buffers.gate, placements.gate);
  ForwardArgs args = buffers.args;
  args.x = x.const_rows_from(0);
  args.y = Outputs{y, x, y, residual}.at(layout.in_place).rows_from(0);
  args.weight = weight_on_device(args.weight, weight);
  args.rstd = rstd.row(0);
  if (problem.gate) args.gate = gate.const_rows_from(0);
  if (problem.residual) {
    args.residual = residual.const_rows_from(0);
    args.sum = Outputs{sum_out, x, sum_out, residual}.at(layout.sum_in_place).rows_from(0);
  }

  cuda::DeviceMemory workspace;
  must(workspace.allocate(cuda::forward_workspace_bytes(gpu.device(), args)));
  must(cuda::launch_forward(gpu.device(), args, workspace.get(), gpu.stream().get()));
  const std::string text = x.copy_back("x") + y.copy_back("y") + rstd.copy_back("rstd") +
                           residual.copy_back("residual") + sum_out.copy_back("sum_out") +
                           gate.copy_back("gate");
  return text + complaint(problem, layout, expected_forward(problem), buffers);
}

std::string backward_complaint(Gpu& gpu, const Problem& problem, const Layout& layout,
                               const Placements& placements, Cut cut) {
  const auto [rows, hidden_size] = problem.shape;
  if (cut.group_rows == 0) cut.group_rows = row_group_rows(rows);
  if (cut.first_rows == 0) cut.first_rows = rows;
  BackwardBuffers buffers(problem, layout);
  const std::int64_t groups = layout.dweight ? ceil_div(rows, cut.group_rows) : 0;
  Matrix partial_rows(DType::kFloat32, groups, cuda::partial_row_floats(hidden_size));
  DeviceMatrix dy(gpu, buffers.dy, placements.dy);
  DeviceMatrix x(gpu, buffers.x, placements.x);
  DeviceMatrix weight(gpu, buffers.weight, placements.weight);
  DeviceMatrix rstd(gpu, buffers.rstd, placements.rstd);
  DeviceMatrix dx(gpu, buffers.dx, placements.out);
  DeviceMatrix dweight(gpu, buffers.dweight, placements.dweight);
  DeviceMatrix dsum(gpu, buffers.dsum, placements.residual);
  DeviceMatrix gate(gpu, buffers.gate, placements.gate);
  DeviceMatrix dgate(gpu, buffers.dgate, placements.dgate);
  DeviceMatrix partials(gpu, partial_rows);
  const DeviceMatrix& out = Outputs{dx, x, dy, dsum}.at(layout.in_place);

  const auto args_of_rows = [&](std::int64_t begin, std::int64_t end) {
    BackwardArgs args = buffers.args;
    args.shape.rows = end - begin;
    args.dy = dy.const_rows_from(begin);
    args.x = x.const_rows_from(begin);
    args.weight = weight_on_device(args.weight, weight);
    if (layout.has_rstd) args.rstd = static_cast<const float*>(rstd.row(0)) + begin;
    if (layout.dx) args.dx = out.rows_from(begin);
    if (problem.residual) args.dsum = dsum.const_rows_from(begin);
    if (problem.gate) args.gate = gate.const_rows_from(begin);
    if (problem.gate && layout.dx) {
      args.dgate = (layout.dgate_in_place ? gate : dgate).rows_from(begin);
    }
    if (layout.dweight) args.dweight = dweight.row(0);
    return args;
  };
  for (const cpu::Range range : {cpu::Range{0, cut.first_rows}, {cut.first_rows, rows}}) {
    const BackwardArgs args = args_of_rows(range.begin, range.end);
    if (args.shape.rows == 0) continue;
    cuda::DeviceMemory workspace;
    must(workspace.allocate(cuda::backward_workspace_bytes(gpu.device(), args, cut.group_rows)));
    const std::int64_t group = range.begin / cut.group_rows;
    must(cuda::launch_backward(gpu.device(), args, cut.group_rows,
                               layout.dweight ? partials.address(group) : 0, workspace.get(),
                               gpu.stream().get()));
    must(gpu.stream().synchronize());  // before the workspace is freed
  }
  if (layout.dweight) {
    must(cuda::launch_reduce_dweight(gpu.device(), args_of_rows(0, rows), partials.address(0),
                                     groups, gpu.stream().get()));
  }

  const ExpectedBackward expected(problem, cut.group_rows);
  std::string text = dy.copy_back("dy") + x.copy_back("x") + dx.copy_back("dx") +
                     dsum.copy_back("dsum") + dweight.copy_back("dweight") +
                     gate.copy_back("gate") + dgate.copy_back("dgate") +
                     partials.copy_back("partials");
  // Kernels may write the padding of a partial row's last sector, so only its columns are compared.
  for (std::int64_t group = 0; group < groups && text.empty(); ++group) {
    Matrix wanted(DType::kFloat32, 1, hidden_size);
    Matrix found(DType::kFloat32, 1, hidden_size);
    std::memcpy(wanted.row(0), expected.partials.row(group), wanted.row_bytes());
    std::memcpy(found.row(0), partial_rows.row(group), found.row_bytes());
    text = difference(wanted, found, problem.values);
    if (!text.empty()) text = "group " + std::to_string(group) + ": " + text + "; ";
  }
  return text + complaint(problem, layout, expected.buffers, buffers);
}

Problem problem_of(Shape shape, DType dtype, WeightKind weight, std::int64_t seed) {
  const Options options{
      .eps = 1e-6f,
      .weight_offset = seed % 4 < 2 ? 0.0f : 1.0f,
      .cast_order = seed % 2 == 0 ? CastOrder::kLlama : CastOrder::kFloat,
  };
  const DType dweight_dtype = weight == WeightKind::kFloat32 ? DType::kFloat32 : dtype;
  const Values values = seed % 5 == 4 ? Values::kSpecial : Values::kFinite;
  return {shape,         dtype,         weight, options,
          dweight_dtype, seed % 3 == 0, values, static_cast<std::uint64_t>(seed),
          seed % 7 < 3};
}

}  // namespace rmsnorm::test
