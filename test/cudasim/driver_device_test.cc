#include <cstring>
#include <thread>

#include "driver_test_support.h"

namespace cudasim {
namespace {

TEST_CASE("before cuInit only the version and error names are available") {
  Driver::restart(Simulation::quiet());
  int number = 0;
  const char* text = nullptr;
  CUdevice device = 0;
  CHECK(cuDeviceGetCount(&number) == CUDA_ERROR_NOT_INITIALIZED);
  CHECK(cuDeviceGet(&device, 0) == CUDA_ERROR_NOT_INITIALIZED);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_NOT_INITIALIZED);
  CHECK(cuDriverGetVersion(&number) == CUDA_SUCCESS);
  CHECK(number == 13000);
  CHECK(cuGetErrorName(CUDA_ERROR_NO_DEVICE, &text) == CUDA_SUCCESS);
  CHECK(std::string(text) == "CUDA_ERROR_NO_DEVICE");
  CHECK(cuInit(1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuInit(0) == CUDA_SUCCESS);
  CHECK(cuInit(0) == CUDA_SUCCESS);
}

TEST_CASE("errors have the driver's names and texts") {
  const struct {
    int code;
    const char* name;
    const char* text;
  } cases[] = {{0, "CUDA_SUCCESS", "no error"},
               {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
               {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
               {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
               {999, "CUDA_ERROR_UNKNOWN", "unknown error"}};
  for (const auto& [code, name, text] : cases) {
    const char* got = nullptr;
    CHECK(cuGetErrorName(CUresult{code}, &got) == CUDA_SUCCESS);
    CHECK(std::string(got) == name);
    CHECK(cuGetErrorString(CUresult{code}, &got) == CUDA_SUCCESS);
    CHECK(std::string(got) == text);
  }
  const char* none = "unchanged";
  CHECK(cuGetErrorName(CUresult{12345}, &none) == CUDA_ERROR_INVALID_VALUE);
  CHECK(none == nullptr);
  CHECK(cuGetErrorString(CUresult{12345}, &none) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGetErrorName(CUDA_SUCCESS, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("without devices cuInit returns CUDA_ERROR_NO_DEVICE") {
  Driver::restart(Simulation::devices(0));
  int count = -1;
  CHECK(cuInit(0) == CUDA_ERROR_NO_DEVICE);
  CHECK(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
}

TEST_CASE("a device reports its attributes, memory and name") {
  Options options = Simulation::devices(3);
  options.devices[1] = DeviceModel::of(7, 5);
  options.devices[1].multiprocessors = 7;
  options.devices[1].memory_bytes = 1 << 20;
  const Simulation simulation(options);
  int value = 0;
  CHECK(cuDeviceGetCount(&value) == CUDA_SUCCESS);
  CHECK(value == 3);
  CUdevice device = -1;
  CHECK(cuDeviceGet(&device, 1) == CUDA_SUCCESS);
  for (const int wrong : {-1, 3}) {
    CHECK(cuDeviceGet(&device, wrong) == CUDA_ERROR_INVALID_DEVICE);
    CHECK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, wrong) ==
          CUDA_ERROR_INVALID_DEVICE);
  }
  const std::pair<CUdevice_attribute, int> attributes[] = {
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 7},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 4 << 20},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 7},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 5},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 64 << 10}};
  for (const auto& [attribute, expected] : attributes) {
    CAPTURE(attribute);
    CHECK(cuDeviceGetAttribute(&value, attribute, 1) == CUDA_SUCCESS);
    CHECK(value == expected);
  }
  CHECK(cuDeviceGetAttribute(&value, CUdevice_attribute{99999}, 1) == CUDA_ERROR_INVALID_VALUE);
  std::size_t bytes = 0;
  CHECK(cuDeviceTotalMem_v2(&bytes, 1) == CUDA_SUCCESS);
  CHECK(bytes == 1 << 20);
  char name[64];
  CHECK(cuDeviceGetName(name, sizeof name, 1) == CUDA_SUCCESS);
  CHECK(std::string(name) == "cudasim (simulated GPU, compute capability 7.5)");
  CHECK(cuDeviceGetName(name, 8, 1) == CUDA_SUCCESS);
  CHECK(std::string(name) == "cudasim");
  CHECK(cuDeviceGetName(name, 0, 1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a primary context lives from the first retain to the last release") {
  const Simulation simulation;
  CUcontext context = nullptr;
  CUcontext again = nullptr;
  CHECK(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRetain(&again, 0) == CUDA_SUCCESS);
  CHECK(again == context);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK(cuCtxSetCurrent(context) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
}

TEST_CASE("handles of an ended context are invalid") {
  const Simulation simulation;
  const CUstream stream = make_stream();
  const CUevent event = make_event();
  const CUfunction function = load_kernel("store");
  const CUdeviceptr memory = allocate(16);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuEventSynchronize(event) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(launch(function, {}) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuMemFree_v2(memory) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a context is current only on the thread that set it") {
  const Simulation simulation;
  CUcontext context = nullptr;
  REQUIRE(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  CUresult without{}, set{}, with{};
  CUcontext seen = context;
  std::thread([&] {
    CUdeviceptr pointer = 0;
    cuCtxGetCurrent(&seen);
    without = cuMemAlloc_v2(&pointer, 16);
    set = cuCtxSetCurrent(context);
    with = cuMemAlloc_v2(&pointer, 16);
  }).join();
  CHECK(seen == nullptr);
  CHECK(without == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(set == CUDA_SUCCESS);
  CHECK(with == CUDA_SUCCESS);
  CHECK(cuCtxSetCurrent(nullptr) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("invalid handles and null pointers are refused") {
  const Simulation simulation;
  int made_up = 0;
  void* const address = &made_up;
  const auto context = reinterpret_cast<CUcontext>(address);
  const auto module = reinterpret_cast<CUmodule>(address);
  const auto function = reinterpret_cast<CUfunction>(address);
  const auto stream = reinterpret_cast<CUstream>(address);
  const auto event = reinterpret_cast<CUevent>(address);
  const CUstream good_stream = make_stream();
  const CUdeviceptr memory = allocate(16);
  CUfunction got = nullptr;
  float time = 0;
  int value = 0;
  char host[16] = {};

  CHECK(cuCtxSetCurrent(context) == CUDA_ERROR_INVALID_CONTEXT);
  const std::pair<const char*, CUresult> handles[] = {
      {"unload", cuModuleUnload(module)},
      {"get function", cuModuleGetFunction(&got, module, "store")},
      {"get attribute", cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, function)},
      {"set attribute",
       cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 0)},
      {"launch", launch(function, {})},
      {"launch on stream", launch(load_kernel("store"), {}, stream)},
      {"callback", cuStreamAddCallback(
                       stream, [](CUstream, CUresult, void*) {}, nullptr, 0)},
      {"to device", cuMemcpyHtoDAsync_v2(memory, host, 16, stream)},
      {"to host", cuMemcpyDtoHAsync_v2(host, memory, 16, stream)},
      {"on device", cuMemcpyDtoDAsync_v2(memory, memory, 16, stream)},
      {"set", cuMemsetD32Async(memory, 0, 4, stream)},
      {"stream destroy", cuStreamDestroy_v2(stream)},
      {"null stream destroy", cuStreamDestroy_v2(nullptr)},
      {"stream synchronize", cuStreamSynchronize(stream)},
      {"stream query", cuStreamQuery(stream)},
      {"stream wait", cuStreamWaitEvent(good_stream, event, 0)},
      {"event destroy", cuEventDestroy_v2(event)},
      {"event record", cuEventRecord(event, good_stream)},
      {"event query", cuEventQuery(event)},
      {"event synchronize", cuEventSynchronize(event)},
      {"elapsed", cuEventElapsedTime(&time, event, event)},
  };
  for (const auto& [what, result] : handles) {
    CAPTURE(what);
    CHECK(result == CUDA_ERROR_INVALID_HANDLE);
  }

  const CUfunction store = load_kernel("store");
  const std::pair<const char*, CUresult> values[] = {
      {"version", cuDriverGetVersion(nullptr)},
      {"count", cuDeviceGetCount(nullptr)},
      {"device", cuDeviceGet(nullptr, 0)},
      {"name", cuDeviceGetName(nullptr, 10, 0)},
      {"total", cuDeviceTotalMem_v2(nullptr, 0)},
      {"attribute", cuDeviceGetAttribute(nullptr, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0)},
      {"retain", cuDevicePrimaryCtxRetain(nullptr, 0)},
      {"current", cuCtxGetCurrent(nullptr)},
      {"image", cuModuleLoadData(reinterpret_cast<CUmodule*>(address), nullptr)},
      {"module", cuModuleLoadData(nullptr, kPtx)},
      {"function attribute", cuFuncGetAttribute(nullptr, CU_FUNC_ATTRIBUTE_NUM_REGS, store)},
      {"parameters", cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr)},
      {"callback", cuStreamAddCallback(good_stream, nullptr, nullptr, 0)},
      {"alloc", cuMemAlloc_v2(nullptr, 16)},
      {"free", cuMemFree_v2(0)},
      {"host alloc", cuMemHostAlloc(nullptr, 16, 0)},
      {"host free", cuMemFreeHost(host)},
      {"to device", cuMemcpyHtoDAsync_v2(memory, nullptr, 16, nullptr)},
      {"to host", cuMemcpyDtoHAsync_v2(nullptr, memory, 16, nullptr)},
      {"stream", cuStreamCreate(nullptr, 0)},
      {"event", cuEventCreate(nullptr, 0)},
      {"fill of 1 byte", cuMemsetD8Async(0, 0, 8, nullptr)},
      {"fill of 2 bytes", cuMemsetD16Async(0, 0, 8, nullptr)},
      {"fill of 4 bytes", cuMemsetD32Async(0, 0, 4, nullptr)},
  };
  for (const auto& [what, result] : values) {
    CAPTURE(what);
    CHECK(result == CUDA_ERROR_INVALID_VALUE);
  }
  CHECK(simulation.faults("invalid-handle") == 4);  // of the unload and destroy calls
  CHECK(simulation.faults("invalid-free") == 2);
}

TEST_CASE("a requested failure hits the n-th call of its function") {
  Options options = Simulation::quiet();
  options.failures = {{"cuMemAlloc_v2", 2, CUDA_ERROR_OUT_OF_MEMORY},
                      {"cuMemAlloc_v2", 4, CUDA_ERROR_UNKNOWN},
                      {"cuStreamSynchronize", 1, CUDA_ERROR_LAUNCH_FAILED}};
  const Simulation simulation(options);
  const CUresult expected[] = {CUDA_SUCCESS, CUDA_ERROR_OUT_OF_MEMORY, CUDA_SUCCESS,
                               CUDA_ERROR_UNKNOWN, CUDA_SUCCESS};
  for (const CUresult result : expected) {
    CUdeviceptr pointer = 0;
    CHECK(cuMemAlloc_v2(&pointer, 16) == result);
    CHECK((pointer != 0) == (result == CUDA_SUCCESS));
  }
  CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_LAUNCH_FAILED);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);  // the context itself has no error
}

TEST_CASE("a requested failure of * hits the n-th call of all functions that may fail") {
  Options options = Simulation::quiet();
  options.failures = {{"*", 2, CUDA_ERROR_OUT_OF_MEMORY}, {"*", 4, CUDA_ERROR_UNKNOWN}};
  Driver::restart(options);
  CHECK(cuInit(0) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
  CUdeviceptr pointer = 0;
  CHECK(cuMemAlloc_v2(&pointer, 16) == CUDA_ERROR_UNKNOWN);
  CHECK(cuMemAlloc_v2(&pointer, 16) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
}

template <class... Arguments>
CUresult call_with_zeros(CUresult (*function)(Arguments...)) {
  return function(Arguments{}...);
}

TEST_CASE("every function can be made to fail") {
  const struct {
    std::string name;
    CUresult (*call)();
  } functions[] = {
#define CUDASIM_WITH_ZEROS(name, parameters) {#name, [] { return call_with_zeros(name); }},
      RMSNORM_DRIVER_FUNCTIONS(CUDASIM_WITH_ZEROS)
#undef CUDASIM_WITH_ZEROS
  };
  for (const auto& [name, call] : functions) {
    CAPTURE(name);
    // These two functions describe errors and cannot fail on request.
    if (name == "cuGetErrorName" || name == "cuGetErrorString") continue;
    Options options = Simulation::quiet();
    options.failures = {{name, 2, CUDA_ERROR_NO_BINARY_FOR_GPU}};
    Driver::restart(options);
    CHECK(call() != CUDA_ERROR_NO_BINARY_FOR_GPU);
    CHECK(call() == CUDA_ERROR_NO_BINARY_FOR_GPU);
    CHECK(call() != CUDA_ERROR_NO_BINARY_FOR_GPU);
  }
}

}  // namespace
}  // namespace cudasim
