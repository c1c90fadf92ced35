#include "enqueue.h"

#include "../../op/fold.h"
#include "../../os/floating_point.h"
#include "../launch/launch.h"

namespace rmsnorm::cuda {

Status enqueue_forward(Queue& queue, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used) {
  if (args.shape.rows == 0) return {};
  const FloatingPointScope mode;  // for the parameters that launch.cc rounds
  Device& device = queue.device();
  CUdeviceptr workspace = 0;
  RMSNORM_TRY(queue.workspace(forward_workspace_bytes(device, args), &workspace));
  return queue.enqueue(used,
                       [&] { return launch_forward(device, args, workspace, queue.stream()); });
}

Status enqueue_backward(Queue& queue, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used) {
  const bool has_dweight = args.dweight != nullptr;
  if (!has_dweight && (args.dx.data == nullptr || args.shape.rows == 0)) return {};
  const FloatingPointScope mode;
  Device& device = queue.device();
  const std::int64_t groups = row_group_count(args.shape.rows);
  const std::int64_t partials_bytes =
      has_dweight ? groups * partial_row_bytes(args.shape.hidden_size) : 0;
  CUdeviceptr partials = 0;
  RMSNORM_TRY(queue.workspace(partials_bytes + backward_workspace_bytes(device, args), &partials));
  const CUdeviceptr workspace = partials + static_cast<CUdeviceptr>(partials_bytes);
  return queue.enqueue(used, [&]() -> Status {
    if (args.shape.rows > 0) {
      RMSNORM_TRY(launch_backward(device, args, row_group_rows(args.shape.rows), partials,
                                  workspace, queue.stream()));
    }
    if (!has_dweight) return {};
    return launch_finish_dweight(device, args, partials, groups, queue.stream());
  });
}

}  // namespace rmsnorm::cuda
