// A stand-in CUDA driver that needs no GPU: it reports one device, and every call on that device
// fails.

#include <string_view>

#include "cuda/driver/driver_api.h"

namespace {

rmsnorm::cuda::CUresult answer(std::string_view name, int* result) {
  using namespace rmsnorm::cuda;
  if (name == "cuInit") return CUDA_SUCCESS;
  if (name == "cuDriverGetVersion") {
    *result = 13000;
    return CUDA_SUCCESS;
  }
  if (name == "cuDeviceGetCount") {
    *result = 1;
    return CUDA_SUCCESS;
  }
  return CUresult{801};  // CUDA_ERROR_NOT_SUPPORTED
}

}  // namespace

// Each function declares only the first of its parameters. That is safe, because callers remove the
// arguments.
#define DEFINE_FUNCTION(name, parameters)                                      \
  extern "C" __declspec(dllexport) rmsnorm::cuda::CUresult name(int* result) { \
    return answer(#name, result);                                              \
  }
RMSNORM_DRIVER_FUNCTIONS(DEFINE_FUNCTION)
