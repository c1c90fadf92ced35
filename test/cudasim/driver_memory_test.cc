#include <cstring>

#include "driver_test_support.h"

namespace cudasim {
namespace {

TEST_CASE("cuMemAlloc fails without enough device memory") {
  Options options = Simulation::quiet();
  options.devices[0].memory_bytes = 1 << 20;
  const Simulation simulation(options);
  CUdeviceptr first = 0;
  CUdeviceptr second = 0;
  CHECK(cuMemAlloc_v2(&first, (1 << 20) + 1) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuMemAlloc_v2(&first, 768 << 10) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&second, 512 << 10) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuMemFree_v2(first) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&second, 512 << 10) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&second, 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("values survive copies to, within and from the device") {
  const Simulation simulation;
  const std::vector<unsigned> values{1, 2, 3, 4};
  const CUdeviceptr a = device_copy(values);
  const CUdeviceptr b = allocate(16);
  CHECK(cuMemsetD32Async(b, ~0u, 4, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoDAsync_v2(b + 4, a, 8, nullptr) == CUDA_SUCCESS);
  CHECK(host_copy(b, 4) == std::vector<unsigned>{~0u, 1, 2, ~0u});
}

TEST_CASE("fills write elements of 2 and 4 bytes and refuse invalid ranges") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  CHECK(cuMemsetD32Async(memory, 0x01020304, 4, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemsetD16Async(memory + 2, 0xabcd, 2, nullptr) == CUDA_SUCCESS);
  CHECK(host_copy(memory, 4) ==
        std::vector<unsigned>{0xabcd0304, 0x0102abcd, 0x01020304, 0x01020304});
  CHECK(cuMemsetD16Async(memory + 1, 0, 1, nullptr) == CUDA_ERROR_INVALID_VALUE);  // misaligned
  CHECK(cuMemsetD32Async(memory + 2, 0, 1, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD16Async(memory, 0, 9, nullptr) == CUDA_ERROR_INVALID_VALUE);  // past the end
  CHECK(cuMemsetD32Async(memory, 0, 5, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32Async(memory, 0, (SIZE_MAX >> 2) + 2, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32Async(0, 0, 0, nullptr) == CUDA_SUCCESS);
}

template <class Value>
Value attribute(CUpointer_attribute which, CUdeviceptr pointer) {
  Value value{};
  CHECK(cuPointerGetAttribute(&value, which, pointer) == CUDA_SUCCESS);
  return value;
}

TEST_CASE("pointer attributes describe device memory and page-locked memory") {
  const Simulation simulation;
  CUcontext context = nullptr;
  REQUIRE(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  const CUdeviceptr memory = allocate(100);
  const Pinned pinned(25);
  const auto host = reinterpret_cast<CUdeviceptr>(pinned.data);
  const struct {
    CUdeviceptr start;
    CUmemorytype type;
  } cases[] = {{memory, CU_MEMORYTYPE_DEVICE}, {host, CU_MEMORYTYPE_HOST}};
  for (const auto& [start, type] : cases) {
    CAPTURE(type);
    for (const std::size_t offset : {0, 99}) {
      const CUdeviceptr at = start + offset;
      CHECK(attribute<CUmemorytype>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at) == type);
      CHECK(attribute<CUcontext>(CU_POINTER_ATTRIBUTE_CONTEXT, at) == context);
      CHECK(attribute<int>(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at) == 0);
      CHECK(attribute<CUdeviceptr>(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at) == start);
      CHECK(attribute<std::size_t>(CU_POINTER_ATTRIBUTE_RANGE_SIZE, at) == 100);
    }
  }
  CUdeviceptr start = 0;
  std::size_t bytes = 0;
  CHECK(cuMemGetAddressRange_v2(&start, &bytes, memory + 99) == CUDA_SUCCESS);
  CHECK(start == memory);
  CHECK(bytes == 100);
  CHECK(cuMemGetAddressRange_v2(nullptr, nullptr, memory) == CUDA_SUCCESS);
  CHECK(cuMemGetAddressRange_v2(&start, &bytes, host) == CUDA_ERROR_NOT_FOUND);

  int value = 0;
  const auto refused = [&](CUdeviceptr pointer) {
    CHECK(cuMemGetAddressRange_v2(&start, &bytes, pointer) == CUDA_ERROR_NOT_FOUND);
    return cuPointerGetAttribute(&value, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer);
  };
  CHECK(refused(memory + 100) == CUDA_ERROR_INVALID_VALUE);
  CHECK(refused(reinterpret_cast<CUdeviceptr>(&value)) == CUDA_ERROR_INVALID_VALUE);
  CHECK(refused(0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(refused(memory) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuPointerGetAttribute(nullptr, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuPointerGetAttribute(&value, CUpointer_attribute{5}, host) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("cuMemGetInfo counts the free memory") {
  const Simulation simulation;
  std::size_t before = 0;
  std::size_t total = 0;
  REQUIRE(cuMemGetInfo_v2(&before, &total) == CUDA_SUCCESS);
  CHECK(before <= total);
  CUdeviceptr memory = 0;
  REQUIRE(cuMemAlloc_v2(&memory, 1000) == CUDA_SUCCESS);
  std::size_t available = 0;
  CHECK(cuMemGetInfo_v2(&available, &total) == CUDA_SUCCESS);
  CHECK(available + 1000 <= before);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(cuMemGetInfo_v2(&available, &total) == CUDA_SUCCESS);
  CHECK(available == before);
  CHECK(cuMemGetInfo_v2(nullptr, &total) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemGetInfo_v2(&available, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a copy call refuses a range outside its allocation") {
  const Simulation simulation;
  const CUdeviceptr memory = device_copy({1, 2, 3, 4});
  Pinned pinned(4);
  char host[64] = {};
  const std::pair<CUdeviceptr, std::size_t> ranges[] = {
      {memory, 17}, {memory + 8, 9}, {memory + 16, 1}, {memory - 1, 1}, {0, 1}, {memory, SIZE_MAX}};
  for (const auto& [address, bytes] : ranges) {
    CAPTURE(bytes);
    CHECK(cuMemcpyHtoDAsync_v2(address, host, bytes, nullptr) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemcpyDtoHAsync_v2(host, address, bytes, nullptr) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemcpyDtoDAsync_v2(memory, address, bytes, nullptr) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemcpyDtoDAsync_v2(address, memory, bytes, nullptr) == CUDA_ERROR_INVALID_VALUE);
  }
  CHECK(cuMemcpyHtoDAsync_v2(memory, &pinned[3], 8, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyDtoHAsync_v2(&pinned[3], memory, 8, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyHtoDAsync_v2(0, nullptr, 0, nullptr) == CUDA_SUCCESS);
  CHECK(synchronize() == CUDA_SUCCESS);
}

TEST_CASE("the call stages pageable memory, the copy reads page-locked memory when it runs") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(4);
  unsigned pageable = 1;
  CHECK(cuMemcpyHtoDAsync_v2(memory, &pageable, 4, nullptr) == CUDA_SUCCESS);
  pageable = 2;
  CHECK(host_copy(memory, 1) == std::vector<unsigned>{1});

  Pinned pinned(1);
  pinned[0] = 1;
  CHECK(cuMemcpyHtoDAsync_v2(memory, pinned.data, 4, nullptr) == CUDA_SUCCESS);
  pinned[0] = 2;  // too early: the copy has not run
  CHECK(host_copy(memory, 1) == std::vector<unsigned>{2});
}

TEST_CASE("new page-locked memory is not zero") {
  const Simulation simulation;
  CHECK(Pinned(1)[0] == 0xa5a5a5a5);
}

TEST_CASE("the result of a copy arrives with a wait, not before") {
  const Simulation simulation;
  const CUdeviceptr memory = device_copy({7});
  const CUstream stream = make_stream();
  Pinned pinned(1);
  unsigned pageable = 0;
  CHECK(cuMemcpyDtoHAsync_v2(pinned.data, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoHAsync_v2(&pageable, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(pinned[0] == 0xa5a5a5a5);
  CHECK(pageable == 0);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(pinned[0] == 7);
  CHECK(pageable == 7);
}

TEST_CASE("cuMemFree waits for the device") {
  const Simulation simulation;
  CUdeviceptr memory = device_copy({1});
  const CUstream stream = make_stream();
  unsigned n = 1;
  unsigned got = 0;
  CHECK(launch(load_kernel("add_one"), {&memory, &n}, stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoHAsync_v2(&got, memory, 4, stream) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(got == 2);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
}

TEST_CASE("frees where no allocation begins are refused and reported") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  Pinned pinned(4);
  CHECK(cuMemFree_v2(memory + 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(memory) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFreeHost(&pinned[1]) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_ERROR_INVALID_VALUE);
  CHECK(simulation.faults("invalid-free") == 4);
}

TEST_CASE("freeing page-locked memory during a copy is an error") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  Pinned pinned(4);
  CHECK(cuMemcpyHtoDAsync_v2(memory, pinned.data, 16, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(simulation.faults("freed-in-flight") == 1);
  CHECK(synchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("page-locked memory can be freed after its copy") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  Pinned pinned(4);
  CHECK(cuMemcpyHtoDAsync_v2(memory, pinned.data, 16, nullptr) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_SUCCESS);
  CHECK(simulation.trace().empty());
}

TEST_CASE("the error of a kernel or copy stays with its context") {
  const struct {
    const char* what;
    const char* kind;
    CUresult expected;
    void (*wrong)(CUdeviceptr memory);
  } cases[] = {
      {"a stale address", "use-after-free", CUDA_ERROR_ILLEGAL_ADDRESS,
       [](CUdeviceptr) {
         CUdeviceptr stale = allocate(16);
         unsigned value = 1;
         CHECK(cuMemFree_v2(stale) == CUDA_SUCCESS);
         CHECK(launch(load_kernel("store"), {&stale, &value}) == CUDA_SUCCESS);
       }},
      {"past the end", "out-of-bounds", CUDA_ERROR_ILLEGAL_ADDRESS,
       [](CUdeviceptr memory) {
         unsigned n = 5;
         CHECK(launch(load_kernel("add_one"), {&memory, &n}, nullptr, 32) == CUDA_SUCCESS);
       }},
      {"misaligned", "misaligned", CUDA_ERROR_MISALIGNED_ADDRESS,
       [](CUdeviceptr memory) {
         CUdeviceptr odd = memory + 2;
         unsigned value = 1;
         CHECK(launch(load_kernel("store"), {&odd, &value}) == CUDA_SUCCESS);
       }},
      {"reading unwritten memory", "uninitialised", CUDA_ERROR_LAUNCH_FAILED,
       [](CUdeviceptr memory) {
         CUdeviceptr output = allocate(16);
         CHECK(launch(load_kernel("copy_first"), {&memory, &output}) == CUDA_SUCCESS);
       }},
      {"copying unwritten memory", "uninitialised", CUDA_ERROR_LAUNCH_FAILED,
       [](CUdeviceptr) {
         static unsigned host;
         CHECK(cuMemcpyDtoHAsync_v2(&host, allocate(4), 4, nullptr) == CUDA_SUCCESS);
       }},
  };
  for (const auto& [what, kind, expected, wrong] : cases) {
    CAPTURE(what);
    const Simulation simulation;
    const CUdeviceptr memory = device_copy({1, 2, 3, 4});
    const CUstream stream = make_stream();
    const CUevent event = make_event();
    wrong(memory);
    CHECK(cuStreamSynchronize(nullptr) == expected);
    CHECK(simulation.faults(kind) == 1);
    CUdeviceptr more = 0;
    unsigned host = 0;
    CHECK(cuMemAlloc_v2(&more, 16) == expected);
    CHECK(cuMemcpyDtoHAsync_v2(&host, memory, 4, nullptr) == expected);
    CHECK(cuStreamQuery(stream) == expected);
    CHECK(synchronize() == expected);
    // Calls that destroy or free something still work, and return the error.
    CHECK(cuStreamDestroy_v2(stream) == expected);
    CHECK(cuEventDestroy_v2(event) == expected);
    CHECK(cuMemFree_v2(memory) == expected);
    CHECK(cuMemFree_v2(memory) == CUDA_ERROR_INVALID_VALUE);
    // A new context has no error.
    CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
    CUcontext context = nullptr;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    CHECK(synchronize() == CUDA_SUCCESS);
  }
}

TEST_CASE("the end of a context reports leaks") {
  Simulation simulation;
  CUcontext context = nullptr;
  REQUIRE(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  allocate(100);
  allocate(28);
  const Pinned pinned(1);
  make_stream();
  make_event();
  load_kernel("store");
  simulation.release();
  CHECK(simulation.trace().empty());  // it is still retained
  simulation.release();
  CHECK(simulation.faults("leak") == 5);
  for (const char* what :
       {"2 device allocations of 128 bytes (0x", "1 page-locked allocation still", "1 stream still",
        "1 event still", "1 module still"}) {
    CAPTURE(what);
    CHECK(simulation.traced({R"("kind":"leak","message":"device 0: )", what}) == 1);
  }
}

TEST_CASE("a context without leaks reports nothing") {
  Simulation simulation;
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  REQUIRE(cuModuleLoadData(&module, kPtx) == CUDA_SUCCESS);
  REQUIRE(cuModuleGetFunction(&function, module, "store") == CUDA_SUCCESS);
  const CUstream stream = make_stream();
  const CUevent event = make_event();
  const CUdeviceptr memory = allocate(16);
  const Pinned pinned(4);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuEventDestroy_v2(event) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_SUCCESS);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
  simulation.release();
  CHECK(simulation.trace().empty());
}

}  // namespace
}  // namespace cudasim
