#include <chrono>

#include "calls.h"
#include "cuda/driver/device.h"
#include "cuda/kernels/kernel_params.h"
#include "cuda/launch/policy.h"
#include "cuda/runtime/memory.h"

namespace rmsnorm::bench {
namespace {

using namespace cuda;

Status time_launches(Device& device, std::int64_t hidden_size, int count, double* nanoseconds) {
  constexpr int kWidestAccess = 16;
  const LaunchConfig launch =
      configure_forward({{1, hidden_size}, DType::kFloat32, DType::kFloat32, kWidestAccess});
  if (launch.kernel == nullptr)
    return {Code::kOutOfRange, "No kernel supports rows of this length"};
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  CUfunction kernel = nullptr;
  RMSNORM_TRY(device.kernel(*launch.kernel, &kernel));
  CUcontext context = nullptr;
  RMSNORM_TRY(RMSNORM_CUDA(cuCtxGetCurrent, &context));
  StreamHandle stream;
  RMSNORM_TRY(stream.make());

  ForwardParams params{};
  void* parameters[] = {&params};
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    CUcontext previous = nullptr;
    RMSNORM_TRY(RMSNORM_CUDA(cuCtxGetCurrent, &previous));
    RMSNORM_TRY(RMSNORM_CUDA(cuCtxSetCurrent, context));
    RMSNORM_TRY(RMSNORM_CUDA(cuLaunchKernel, kernel, static_cast<unsigned>(launch.blocks), 1, 1,
                             launch.block_x, launch.block_y, 1, launch.shared_bytes, stream.get(),
                             parameters, nullptr));
    RMSNORM_TRY(RMSNORM_CUDA(cuCtxSetCurrent, previous));
  }
  const auto elapsed = std::chrono::steady_clock::now() - start;
  *nanoseconds = static_cast<double>(std::chrono::nanoseconds(elapsed).count());
  return stream.synchronize();
}

}  // namespace

Napi::Value time_launches(const Napi::CallbackInfo& info) {
  Device* device = nullptr;
  double nanoseconds = 0.0;
  Status status = find_device(info[0].As<Napi::Number>(), &device);
  if (status.ok()) {
    status = time_launches(*device, info[1].As<Napi::Number>().Int64Value(),
                           info[2].As<Napi::Number>(), &nanoseconds);
  }
  if (!status.ok()) throw Napi::Error::New(info.Env(), status.message());
  return Napi::Number::New(info.Env(), nanoseconds);
}

}  // namespace rmsnorm::bench
