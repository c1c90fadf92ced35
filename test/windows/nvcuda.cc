// A CUDA driver as far as one gets without a GPU: it has a device, and refuses what is asked of
// that.

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

// Callers clear the arguments away: that each function takes just the first of them does no harm.
#define DEFINE_FUNCTION(name, parameters)                                      \
  extern "C" __declspec(dllexport) rmsnorm::cuda::CUresult name(int* result) { \
    return answer(#name, result);                                              \
  }
RMSNORM_DRIVER_FUNCTIONS(DEFINE_FUNCTION)
