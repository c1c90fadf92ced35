// The functions of NVIDIA's driver API that we use. They are declared from its documented ABI (CUDA
// Driver API reference, CUDA 13.0), so that building the addon needs no CUDA header. Names and
// types are the driver's own, in our namespace.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rmsnorm::cuda {

enum CUresult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
};

using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUgraphNode = struct CUgraphNode_st*;
using CUstreamCallback = void (*)(CUstream stream, CUresult status, void* user_data);

enum CUdevice_attribute : int {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum CUfunction_attribute : int {
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
};

enum CUpointer_attribute : int {            // and the type that cuPointerGetAttribute writes
  CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,     // CUmemorytype
  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,  // int
  CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE = 10,  // int
};

enum CUmemorytype : int { CU_MEMORYTYPE_DEVICE = 2 };
enum CUstreamCaptureMode : int { CU_STREAM_CAPTURE_MODE_RELAXED = 2 };
enum CUstreamCaptureStatus : int { CU_STREAM_CAPTURE_STATUS_NONE = 0 };

inline constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
inline constexpr unsigned CU_EVENT_DEFAULT = 0;
inline constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;
inline constexpr unsigned CU_MEMHOSTALLOC_PORTABLE = 1;

// F(name, parameters) for every function that we call, under its exported (versioned) name. All
// return a CUresult. A driver that lacks one of them is refused, so every function must exist since
// kOldestVersion (driver.h). test/gpu/driver-abi.test.ts checks this, and the declarations, against
// NVIDIA's header.
#define RMSNORM_DRIVER_FUNCTIONS(F)                                                               \
  F(cuInit, (unsigned flags))                                                                     \
  F(cuDriverGetVersion, (int* version))                                                           \
  F(cuGetErrorName, (CUresult error, const char** name))                                          \
  F(cuGetErrorString, (CUresult error, const char** text))                                        \
  F(cuDeviceGetCount, (int* count))                                                               \
  F(cuDeviceGet, (CUdevice * device, int ordinal))                                                \
  F(cuDeviceGetName, (char* name, int length, CUdevice device))                                   \
  F(cuDeviceTotalMem_v2, (std::size_t * bytes, CUdevice device))                                  \
  F(cuDeviceGetAttribute, (int* value, CUdevice_attribute attribute, CUdevice device))            \
  F(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                             \
  F(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                              \
  F(cuCtxGetCurrent, (CUcontext * context))                                                       \
  F(cuCtxSetCurrent, (CUcontext context))                                                         \
  F(cuModuleLoadData, (CUmodule * module, const void* image))                                     \
  F(cuModuleUnload, (CUmodule module))                                                            \
  F(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char* name))              \
  F(cuFuncGetAttribute, (int* value, CUfunction_attribute attribute, CUfunction function))        \
  F(cuFuncSetAttribute, (CUfunction function, CUfunction_attribute attribute, int value))         \
  F(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,      \
                     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, \
                     CUstream stream, void** parameters, void** extra))                           \
  F(cuMemAlloc_v2, (CUdeviceptr * pointer, std::size_t bytes))                                    \
  F(cuMemFree_v2, (CUdeviceptr pointer))                                                          \
  F(cuMemGetAddressRange_v2, (CUdeviceptr * start, std::size_t * bytes, CUdeviceptr pointer))     \
  F(cuMemGetInfo_v2, (std::size_t * available, std::size_t * total))                              \
  F(cuPointerGetAttribute, (void* value, CUpointer_attribute attribute, CUdeviceptr pointer))     \
  F(cuMemHostAlloc, (void** pointer, std::size_t bytes, unsigned flags))                          \
  F(cuMemFreeHost, (void* pointer))                                                               \
  F(cuMemcpyHtoDAsync_v2,                                                                         \
    (CUdeviceptr destination, const void* source, std::size_t bytes, CUstream stream))            \
  F(cuMemcpyDtoHAsync_v2,                                                                         \
    (void* destination, CUdeviceptr source, std::size_t bytes, CUstream stream))                  \
  F(cuMemcpyDtoDAsync_v2,                                                                         \
    (CUdeviceptr destination, CUdeviceptr source, std::size_t bytes, CUstream stream))            \
  F(cuMemsetD8Async,                                                                              \
    (CUdeviceptr destination, unsigned char value, std::size_t count, CUstream stream))           \
  F(cuMemsetD16Async,                                                                             \
    (CUdeviceptr destination, unsigned short value, std::size_t count, CUstream stream))          \
  F(cuMemsetD32Async,                                                                             \
    (CUdeviceptr destination, unsigned value, std::size_t count, CUstream stream))                \
  F(cuStreamCreate, (CUstream * stream, unsigned flags))                                          \
  F(cuStreamDestroy_v2, (CUstream stream))                                                        \
  F(cuStreamSynchronize, (CUstream stream))                                                       \
  F(cuStreamQuery, (CUstream stream))                                                             \
  F(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                          \
  F(cuStreamAddCallback,                                                                          \
    (CUstream stream, CUstreamCallback callback, void* user_data, unsigned flags))                \
  F(cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode))                         \
  F(cuStreamEndCapture, (CUstream stream, CUgraph * graph))                                       \
  F(cuStreamIsCapturing, (CUstream stream, CUstreamCaptureStatus * status))                       \
  F(cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode * mode))                              \
  F(cuGraphInstantiate_v2, (CUgraphExec * executable, CUgraph graph, CUgraphNode * error_node,    \
                            char* log, std::size_t log_bytes))                                    \
  F(cuGraphLaunch, (CUgraphExec executable, CUstream stream))                                     \
  F(cuGraphExecDestroy, (CUgraphExec executable))                                                 \
  F(cuGraphDestroy, (CUgraph graph))                                                              \
  F(cuEventCreate, (CUevent * event, unsigned flags))                                             \
  F(cuEventDestroy_v2, (CUevent event))                                                           \
  F(cuEventRecord, (CUevent event, CUstream stream))                                              \
  F(cuEventQuery, (CUevent event))                                                                \
  F(cuEventSynchronize, (CUevent event))                                                          \
  F(cuEventElapsedTime, (float* milliseconds, CUevent begin, CUevent end))

}  // namespace rmsnorm::cuda
