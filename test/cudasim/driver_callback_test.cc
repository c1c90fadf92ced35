#include <atomic>
#include <thread>

#include "driver_test_support.h"

namespace cudasim {
namespace {

// Records the values that a callback saw.
struct Called {
  std::atomic<int> times{0};
  CUstream stream = nullptr;
  CUresult status = CUDA_ERROR_UNKNOWN;
  std::thread::id thread;
  CUresult call = CUDA_SUCCESS;  // result of a driver call in the callback
  unsigned got = 0;              // destination of a copy
  unsigned at_call = 0;          // value of `got` when the callback ran

  CUresult add(CUstream to) {
    return cuStreamAddCallback(
        to,
        [](CUstream stream, CUresult status, void* data) {
          auto* called = static_cast<Called*>(data);
          called->stream = stream;
          called->status = status;
          called->thread = std::this_thread::get_id();
          called->call = cuStreamQuery(stream);
          called->at_call = called->got;
          ++called->times;
        },
        this, 0);
  }
};

TEST_CASE("a callback runs in stream order on another thread and cannot call the driver") {
  const Simulation simulation;
  CUdeviceptr memory = device_copy({1});
  const CUstream stream = make_stream();
  Called called;
  unsigned value = 2;
  CHECK(launch(load_kernel("store"), {&memory, &value}, stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoHAsync_v2(&called.got, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(called.add(stream) == CUDA_SUCCESS);
  CHECK(cuMemsetD32Async(memory, 0, 1, stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoHAsync_v2(&called.got, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(called.times == 0);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(called.times == 1);
  CHECK(called.stream == stream);
  CHECK(called.status == CUDA_SUCCESS);
  CHECK(called.thread != std::this_thread::get_id());
  CHECK(called.call == CUDA_ERROR_NOT_PERMITTED);
  CHECK(called.at_call == 2);
  CHECK(called.got == 0);
  CHECK(simulation.faults("call-in-callback") == 1);
}

TEST_CASE("a callback runs even if nobody waits") {
  const Simulation simulation{Options{}};
  Called called;
  CHECK(called.add(nullptr) == CUDA_SUCCESS);
  while (called.times == 0) std::this_thread::yield();
  CHECK(called.stream == nullptr);
}

TEST_CASE("a callback runs once and receives the error of its context") {
  const Simulation simulation;
  CUdeviceptr odd = allocate(16) + 2;
  unsigned value = 1;
  const CUstream stream = make_stream();
  const CUstream other = make_stream();
  Called called, elsewhere;
  CHECK(launch(load_kernel("store"), {&odd, &value}, stream) == CUDA_SUCCESS);
  CHECK(called.add(stream) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_MISALIGNED_ADDRESS);
  CHECK(called.status == CUDA_ERROR_MISALIGNED_ADDRESS);
  CHECK(called.times == 1);
  CHECK(elsewhere.add(other) == CUDA_ERROR_MISALIGNED_ADDRESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CHECK(elsewhere.times == 0);
}

TEST_CASE("the end of a context runs the remaining callbacks") {
  Simulation simulation;
  Called called;
  CHECK(called.add(nullptr) == CUDA_SUCCESS);
  simulation.release();
  CHECK(called.times == 1);
}

TEST_CASE("cuStreamAddCallback refuses invalid arguments") {
  const Simulation simulation;
  const auto nothing = [](CUstream, CUresult, void*) {};
  CHECK(cuStreamAddCallback(nullptr, nullptr, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamAddCallback(nullptr, nothing, nullptr, 1) == CUDA_ERROR_INVALID_VALUE);
  const CUstream stream = make_stream();
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuStreamAddCallback(stream, nothing, nullptr, 0) == CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace
}  // namespace cudasim
