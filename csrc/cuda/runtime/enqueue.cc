#include "enqueue.h"

#include "../../op/fold.h"
#include "../../os/floating_point.h"
#include "../launch/launch.h"

namespace rmsnorm::cuda {

Status enqueue_forward(Stream& stream, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used) {
  if (args.shape.rows == 0) return {};
  const FloatingPointScope mode;  // for the parameters that launch.cc rounds
  Device& device = stream.device();
  CUdeviceptr workspace = 0;
  RMSNORM_TRY(stream.workspace(forward_workspace_bytes(device, args), &workspace));
  return stream.enqueue(used,
                        [&] { return launch_forward(device, args, workspace, stream.handle()); });
}

Status enqueue_backward(Stream& stream, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used) {
  const bool has_dweight = args.dweight != nullptr;
  if (!has_dweight && (args.dx.data == nullptr || args.shape.rows == 0)) return {};
  const FloatingPointScope mode;
  Device& device = stream.device();
  const std::int64_t groups = row_group_count(args.shape.rows);
  const std::int64_t partials_bytes =
      has_dweight ? groups * partial_row_bytes(args.shape.hidden_size) : 0;
  CUdeviceptr partials = 0;
  RMSNORM_TRY(stream.workspace(partials_bytes + backward_workspace_bytes(device, args), &partials));
  const CUdeviceptr workspace = partials + static_cast<CUdeviceptr>(partials_bytes);
  return stream.enqueue(used, [&]() -> Status {
    if (args.shape.rows > 0) {
      RMSNORM_TRY(launch_backward(device, args, row_group_rows(args.shape.rows), partials,
                                  workspace, stream.handle()));
    }
    if (!has_dweight) return {};
    return launch_finish_dweight(device, args, partials, groups, stream.handle());
  });
}

}  // namespace rmsnorm::cuda
