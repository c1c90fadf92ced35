// The driver's errors and attributes that driver_api.h lacks, error texts, and the names and
// properties of the simulated functions.
#pragma once

#include <string_view>

#include "cuda/driver/driver_api.h"

namespace cudasim {

using namespace rmsnorm::cuda;  // the driver's types and constants of driver_api.h

// Errors that the addon does not distinguish, so that driver_api.h does not list them.
inline constexpr CUresult CUDA_ERROR_NOT_INITIALIZED{3};
inline constexpr CUresult CUDA_ERROR_DEINITIALIZED{4};
inline constexpr CUresult CUDA_ERROR_INVALID_DEVICE{101};
inline constexpr CUresult CUDA_ERROR_INVALID_CONTEXT{201};
inline constexpr CUresult CUDA_ERROR_ECC_UNCORRECTABLE{214};
inline constexpr CUresult CUDA_ERROR_INVALID_PTX{218};
inline constexpr CUresult CUDA_ERROR_NVLINK_UNCORRECTABLE{220};
inline constexpr CUresult CUDA_ERROR_UNSUPPORTED_PTX_VERSION{222};
inline constexpr CUresult CUDA_ERROR_CONTAINED{226};
inline constexpr CUresult CUDA_ERROR_INVALID_HANDLE{400};
inline constexpr CUresult CUDA_ERROR_ILLEGAL_STATE{401};
inline constexpr CUresult CUDA_ERROR_ILLEGAL_ADDRESS{700};
inline constexpr CUresult CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES{701};
inline constexpr CUresult CUDA_ERROR_CONTEXT_IS_DESTROYED{709};
inline constexpr CUresult CUDA_ERROR_MISALIGNED_ADDRESS{716};
inline constexpr CUresult CUDA_ERROR_LAUNCH_FAILED{719};
inline constexpr CUresult CUDA_ERROR_TENSOR_MEMORY_LEAK{721};
inline constexpr CUresult CUDA_ERROR_NOT_PERMITTED{800};
inline constexpr CUresult CUDA_ERROR_NOT_SUPPORTED{801};
inline constexpr CUresult CUDA_ERROR_MPS_CLIENT_TERMINATED{810};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED{900};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_INVALIDATED{901};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_MERGE{902};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_UNMATCHED{903};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_UNJOINED{904};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_ISOLATION{905};
inline constexpr CUresult CUDA_ERROR_STREAM_CAPTURE_IMPLICIT{906};
inline constexpr CUresult CUDA_ERROR_CAPTURED_EVENT{907};
inline constexpr CUresult CUDA_ERROR_EXTERNAL_DEVICE{911};
inline constexpr CUresult CUDA_ERROR_UNKNOWN{999};

// Other constants that driver_api.h does not list.
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK{1};
inline constexpr CUdevice_attribute CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X{5};
inline constexpr CUfunction_attribute CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK{0};
inline constexpr CUfunction_attribute CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES{3};
inline constexpr CUfunction_attribute CU_FUNC_ATTRIBUTE_NUM_REGS{4};
inline constexpr CUpointer_attribute CU_POINTER_ATTRIBUTE_CONTEXT{1};            // CUcontext
inline constexpr CUpointer_attribute CU_POINTER_ATTRIBUTE_RANGE_START_ADDR{11};  // CUdeviceptr
inline constexpr CUpointer_attribute CU_POINTER_ATTRIBUTE_RANGE_SIZE{12};        // std::size_t
inline constexpr CUmemorytype CU_MEMORYTYPE_HOST{1};
inline constexpr CUstreamCaptureMode CU_STREAM_CAPTURE_MODE_GLOBAL{0};
inline constexpr CUstreamCaptureMode CU_STREAM_CAPTURE_MODE_THREAD_LOCAL{1};
inline constexpr CUstreamCaptureStatus CU_STREAM_CAPTURE_STATUS_ACTIVE{1};
inline constexpr CUstreamCaptureStatus CU_STREAM_CAPTURE_STATUS_INVALIDATED{2};

struct ErrorText {
  CUresult code;
  const char* name;
  const char* text;
};

// Null: no such error.
const ErrorText* find_error(CUresult code);
const ErrorText* find_error(std::string_view name);

// The driver functions, numbered from 0 in the order of driver_api.h.
enum class Call {
#define CUDASIM_CALL(name, parameters) name,
  RMSNORM_DRIVER_FUNCTIONS(CUDASIM_CALL)
#undef CUDASIM_CALL
};

inline constexpr const char* kCallNames[] = {
#define CUDASIM_NAME(name, parameters) #name,
    RMSNORM_DRIVER_FUNCTIONS(CUDASIM_NAME)
#undef CUDASIM_NAME
};

bool is_driver_function(std::string_view name);

// Whether "*" in CUDASIM_FAIL counts the function. False for functions that release or end
// something, and for functions that must be called before those: if one fails, the caller can only
// leak.
bool may_fail(Call call);

// Whether a capture that is not relaxed forbids the call, because it may wait for other work.
bool is_unsafe_beside_captures(Call call);

}  // namespace cudasim
