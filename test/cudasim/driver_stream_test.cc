#include <atomic>
#include <set>
#include <thread>

#include "driver_test_support.h"

namespace cudasim {
namespace {

CUresult store(CUfunction function, CUdeviceptr to, unsigned value, CUstream stream) {
  return launch(function, {&to, &value}, stream);
}

TEST_CASE("a kernel does not run before somebody waits") {
  const Simulation simulation;
  const CUfunction function = load_kernel("store");
  const CUdeviceptr memory = device_copy({1});
  const CUstream stream = make_stream();
  unsigned got = 0;
  CHECK(store(function, memory, 2, stream) == CUDA_SUCCESS);
  // The copy is queued after the kernel. Neither runs yet.
  CHECK(cuMemcpyDtoHAsync_v2(&got, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(got == 0);
  CHECK(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_SUCCESS);
  CHECK(got == 2);
}

// The values, over many seeds, that a copy on one stream reads while a kernel writes on another.
std::set<unsigned> seen(bool with_event) {
  std::set<unsigned> values;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Simulation simulation(Simulation::seeded(seed));
    const CUfunction function = load_kernel("store");
    const CUdeviceptr memory = device_copy({1});
    const CUstream writes = make_stream();
    const CUstream reads = make_stream();
    const CUevent event = make_event();
    unsigned got = 0;
    CHECK(store(function, memory, 2, writes) == CUDA_SUCCESS);
    CHECK(cuEventRecord(event, writes) == CUDA_SUCCESS);
    if (with_event) CHECK(cuStreamWaitEvent(reads, event, 0) == CUDA_SUCCESS);
    CHECK(cuMemcpyDtoHAsync_v2(&got, memory, 4, reads) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(reads) == CUDA_SUCCESS);
    values.insert(got);
  }
  return values;
}

TEST_CASE("a missing event between two streams shows in the results") {
  CHECK(seen(true) == std::set<unsigned>{2});
  CHECK(seen(false) == std::set<unsigned>{1, 2});
}

TEST_CASE("the legacy stream is ordered with blocking streams only") {
  for (const bool blocking : {true, false}) {
    CAPTURE(blocking);
    std::set<unsigned> values;
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      const Simulation simulation(Simulation::seeded(seed));
      const CUfunction function = load_kernel("store");
      const CUdeviceptr memory = device_copy({1});
      const CUstream stream = make_stream(blocking ? 0 : CU_STREAM_NON_BLOCKING);
      unsigned got = 0;
      CHECK(store(function, memory, 2, stream) == CUDA_SUCCESS);
      const auto legacy = reinterpret_cast<CUstream>(seed % 2);  // 0 and CU_STREAM_LEGACY
      CHECK(cuMemcpyDtoHAsync_v2(&got, memory, 4, legacy) == CUDA_SUCCESS);
      CHECK(cuStreamSynchronize(legacy) == CUDA_SUCCESS);
      values.insert(got);
    }
    CHECK(values == (blocking ? std::set<unsigned>{2} : std::set<unsigned>{1, 2}));
  }
}

TEST_CASE("an event is ready once the work before its record has run") {
  const Simulation simulation;
  const CUstream stream = make_stream();
  const CUdeviceptr memory = allocate(16);
  const CUevent event = make_event();
  CHECK(cuEventQuery(event) == CUDA_SUCCESS);  // never recorded: nothing to wait for
  CHECK(cuEventSynchronize(event) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(stream, event, 0) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(stream, event, 8) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32Async(memory, 1, 4, stream) == CUDA_SUCCESS);
  CHECK(cuEventRecord(event, stream) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  while (cuEventQuery(event) == CUDA_ERROR_NOT_READY) std::this_thread::yield();
  CHECK(cuEventQuery(event) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_SUCCESS);
  // A stream that waits for the new record completes even if the event is destroyed.
  const CUstream other = make_stream();
  CHECK(cuEventRecord(event, stream) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(other, event, 0) == CUDA_SUCCESS);
  CHECK(cuEventDestroy_v2(event) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(other) == CUDA_SUCCESS);
  CHECK(cuEventRecord(event, stream) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("elapsed time is zero and requires recorded events with timing") {
  const Simulation simulation;
  const CUevent begin = make_event(CU_EVENT_DEFAULT);
  const CUevent end = make_event(CU_EVENT_DEFAULT);
  const CUevent untimed = make_event();
  float time = -1;
  CHECK(cuEventElapsedTime(&time, begin, end) == CUDA_ERROR_INVALID_HANDLE);  // not recorded
  for (const CUevent event : {begin, end, untimed}) {
    CHECK(cuEventRecord(event, nullptr) == CUDA_SUCCESS);
  }
  CHECK(cuEventElapsedTime(&time, begin, end) == CUDA_ERROR_NOT_READY);
  CHECK(cuEventSynchronize(untimed) == CUDA_SUCCESS);
  CHECK(cuEventElapsedTime(&time, begin, untimed) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(time == -1);
  CHECK(cuEventElapsedTime(&time, begin, end) == CUDA_SUCCESS);
  CHECK(time == 0);
}

TEST_CASE("the work of a destroyed stream still runs") {
  const Simulation simulation;
  const CUfunction function = load_kernel("store");
  const CUdeviceptr memory = device_copy({1});
  const CUstream stream = make_stream();
  CHECK(store(function, memory, 2, stream) == CUDA_SUCCESS);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(synchronize() == CUDA_SUCCESS);
  CHECK(host_copy(memory, 1) == std::vector<unsigned>{2});
}

// Two devices, each with a context, a stream and a word that holds 1. The second context is
// current.
struct TwoDevices {
  TwoDevices() {
    REQUIRE(cuCtxGetCurrent(&contexts[0]) == CUDA_SUCCESS);
    REQUIRE(cuDevicePrimaryCtxRetain(&contexts[1], 1) == CUDA_SUCCESS);
    for (int i = 0; i < 2; ++i) {
      REQUIRE(cuCtxSetCurrent(contexts[i]) == CUDA_SUCCESS);
      functions[i] = load_kernel("store");
      streams[i] = make_stream();
      memory[i] = device_copy({1});
    }
  }
  void use(int device) { REQUIRE(cuCtxSetCurrent(contexts[device]) == CUDA_SUCCESS); }

  const Simulation simulation{Simulation::devices(2)};
  CUcontext contexts[2];
  CUfunction functions[2];
  CUstream streams[2];
  CUdeviceptr memory[2];
};

TEST_CASE("a stream refuses kernels and events of another device") {
  TwoDevices two;
  CHECK(two.contexts[0] != two.contexts[1]);
  for (int device = 0; device < 2; ++device) {
    int ordinal = -1;
    CHECK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                two.memory[device]) == CUDA_SUCCESS);
    CHECK(ordinal == device);
  }
  CHECK(store(two.functions[0], two.memory[0], 2, nullptr) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(store(two.functions[1], two.memory[1], 2, two.streams[0]) == CUDA_ERROR_INVALID_HANDLE);
  const CUevent event = make_event();
  CHECK(cuEventRecord(event, two.streams[0]) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuEventRecord(event, two.streams[1]) == CUDA_SUCCESS);
}

TEST_CASE("each device has its own memory and its own errors") {
  TwoDevices two;
  CHECK(store(two.functions[1], two.memory[1], 2, nullptr) == CUDA_SUCCESS);
  CHECK(host_copy(two.memory[1], 1) == std::vector<unsigned>{2});
  CHECK(store(two.functions[1], two.memory[1] + 1, 2, nullptr) == CUDA_SUCCESS);
  CHECK(synchronize() == CUDA_ERROR_MISALIGNED_ADDRESS);
  two.use(0);
  CHECK(host_copy(two.memory[0], 1) == std::vector<unsigned>{1});
}

TEST_CASE("a stream waits for an event of another device") {
  TwoDevices two;
  two.use(0);
  bool called[2] = {};
  const auto call = [](CUstream, CUresult, void* flag) { *static_cast<bool*>(flag) = true; };
  CHECK(cuStreamAddCallback(two.streams[0], call, &called[0], 0) == CUDA_SUCCESS);
  const CUevent event = make_event();
  CHECK(cuEventRecord(event, two.streams[0]) == CUDA_SUCCESS);
  two.use(1);
  CHECK(cuStreamWaitEvent(two.streams[1], event, 0) == CUDA_SUCCESS);
  CHECK(cuStreamAddCallback(two.streams[1], call, &called[1], 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(two.streams[1]) == CUDA_SUCCESS);
  CHECK(called[0]);
  CHECK(called[1]);
}

TEST_CASE("all devices share one address space") {
  TwoDevices two;
  REQUIRE(two.memory[0] != two.memory[1]);
  SUBCASE("a copy works between devices") {
    two.use(0);
    CHECK(store(two.functions[0], two.memory[0], 2, nullptr) == CUDA_SUCCESS);
    CHECK(synchronize() == CUDA_SUCCESS);
    two.use(1);
    CHECK(cuMemcpyDtoDAsync_v2(two.memory[1], two.memory[0], 4, nullptr) == CUDA_SUCCESS);
    CHECK(host_copy(two.memory[1], 1) == std::vector<unsigned>{2});
  }
  SUBCASE("a kernel cannot access the other device's memory") {
    CHECK(store(two.functions[1], two.memory[0], 2, nullptr) == CUDA_SUCCESS);
    CHECK(synchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    two.use(0);
    CHECK(synchronize() == CUDA_SUCCESS);
  }
  SUBCASE("memory can be freed from either context") {
    CHECK(cuMemFree_v2(two.memory[0]) == CUDA_SUCCESS);
  }
}

TEST_CASE("several threads can use the driver at once, beside its own thread") {
  Options options = Simulation::devices(2);
  options.patience = std::chrono::microseconds(50);
  const Simulation simulation(options);
  std::atomic<int> wrong{0};
  const auto work = [&](int t) {
    CUcontext context = nullptr;
    if (cuDevicePrimaryCtxRetain(&context, t % 2) != CUDA_SUCCESS) ++wrong;
    if (cuCtxSetCurrent(context) != CUDA_SUCCESS) ++wrong;
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    CUstream stream = nullptr;
    if (cuModuleLoadData(&module, kPtx) != CUDA_SUCCESS) ++wrong;
    if (cuModuleGetFunction(&function, module, "add_one") != CUDA_SUCCESS) ++wrong;
    if (cuStreamCreate(&stream, t < 2 ? 0 : CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS) ++wrong;
    for (unsigned i = 0; i < 20; ++i) {
      CUdeviceptr x = 0;
      unsigned n = 1;
      unsigned got = 0;
      std::atomic<bool> called{false};
      if (cuMemAlloc_v2(&x, 4) != CUDA_SUCCESS) ++wrong;
      cuMemcpyHtoDAsync_v2(x, &i, 4, stream);
      launch(function, {&x, &n}, stream);
      cuMemcpyDtoHAsync_v2(&got, x, 4, stream);
      cuStreamAddCallback(
          stream,
          [](CUstream, CUresult, void* flag) { *static_cast<std::atomic<bool>*>(flag) = true; },
          &called, 0);
      if (i % 2 == 0) {
        if (cuStreamSynchronize(stream) != CUDA_SUCCESS) ++wrong;
      } else {
        while (!called) std::this_thread::yield();
      }
      if (got != i + 1) ++wrong;
      if (cuMemFree_v2(x) != CUDA_SUCCESS) ++wrong;
    }
    if (cuStreamDestroy_v2(stream) != CUDA_SUCCESS) ++wrong;
    if (cuModuleUnload(module) != CUDA_SUCCESS) ++wrong;
    if (cuDevicePrimaryCtxRelease_v2(t % 2) != CUDA_SUCCESS) ++wrong;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(simulation.traced({R"("type":"fault")"}) == 0);
  CHECK(simulation.traced({R"("type":"launch")"}) == 80);
}

}  // namespace
}  // namespace cudasim
