#include "launch.h"

#include "../fold.h"

namespace rmsnorm::cuda {
namespace {

Status launch(Device& device, const char* name, std::int64_t threads, void** parameters,
              CUstream stream) {
  Kernel kernel;
  RMSNORM_TRY(device.kernel(name, &kernel));
  if (threads == 0) return {};
  const auto blocks = static_cast<unsigned>(ceil_div(threads, 32));
  return RMSNORM_CUDA(cuLaunchKernel, kernel.function, blocks, 1, 1, 32, 1, 1, 0, stream,
                      parameters, nullptr);
}

}  // namespace

std::int64_t forward_workspace_bytes(const Device&, const ForwardArgs&) { return 0; }

Status launch_forward(Device& device, const ForwardArgs& args, CUdeviceptr, CUstream stream) {
  ForwardArgs copy = args;
  float inverse_size = inverse(args.shape.hidden_size);
  void* parameters[] = {&copy, &inverse_size};
  return launch(device, "placeholder_forward", args.shape.rows, parameters, stream);
}

std::int64_t backward_workspace_bytes(const Device&, const BackwardArgs&) { return 0; }

Status launch_backward(Device& device, const BackwardArgs& args, std::int64_t group_rows,
                       CUdeviceptr partials, CUdeviceptr, CUstream stream) {
  BackwardArgs copy = args;
  float inverse_size = inverse(args.shape.hidden_size);
  void* parameters[] = {&copy, &inverse_size, &group_rows, &partials};
  return launch(device, "placeholder_backward", ceil_div(args.shape.rows, group_rows), parameters,
                stream);
}

Status launch_finish_dweight(Device& device, const BackwardArgs& args, CUdeviceptr partials,
                             std::int64_t groups, CUstream stream) {
  BackwardArgs copy = args;
  void* parameters[] = {&copy, &partials, &groups};
  return launch(device, "placeholder_finish", args.shape.hidden_size, parameters, stream);
}

}  // namespace rmsnorm::cuda
