// Memory of a device: the pool, captures of other libraries at the same time, and memory that other
// libraries have mapped. Also callbacks that run beside the stream.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/runtime/allocation.h"
#include "cuda/runtime/stream.h"
#include "cuda_support.h"

namespace rmsnorm::test {
namespace {

using cuda::AllocationPtr;
using cuda::CUdeviceptr;
using cuda::CUresult;
using cuda::driver;
using cuda::StreamPtr;

// Frees the memory that earlier tests left, so that the pool is empty.
class PoolTest {
 public:
  PoolTest() {
    cuda::drain_retired();
    if (!gpu.is_there()) return;
    must(cuda::Stream::make(gpu.device(), &stream));
    must(cuda::Stream::make(gpu.device(), &other));
  }
  ~PoolTest() {
    stream.reset();
    other.reset();
    cuda::drain_retired();
  }
  PoolTest(const PoolTest&) = delete;
  PoolTest& operator=(const PoolTest&) = delete;

  AllocationPtr allocate(std::int64_t bytes, const StreamPtr& on = nullptr) {
    AllocationPtr made;
    must(cuda::Allocation::on_device(gpu.device(), bytes, on, &made));
    return made;
  }
  // Enqueues work that uses the memory, releases the memory, and returns its address.
  CUdeviceptr use(AllocationPtr memory, const StreamPtr& on) {
    must(on->enqueue({&memory}, [&] {
      return RMSNORM_CUDA(cuMemsetD32Async, memory->pointer(), 1, 16, on->handle());
    }));
    return memory->pointer();
  }

  Gpu gpu;
  StreamPtr stream;
  StreamPtr other;
};

// Blocks the work that is enqueued on a stream during the object's lifetime.
class Hold {
 public:
  explicit Hold(const StreamPtr& stream) {
    auto* const end = new std::shared_future<void>(end_.get_future());
    const auto wait = [](cuda::CUstream, CUresult, void* data) {
      const std::unique_ptr<std::shared_future<void>> end(
          static_cast<std::shared_future<void>*>(data));
      end->wait();
    };
    REQUIRE(driver().cuStreamAddCallback(stream->handle(), wait, end, 0) == cuda::CUDA_SUCCESS);
  }
  ~Hold() { end_.set_value(); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  std::promise<void> end_;
};

TEST_CASE(
    "cuda: a stream reuses released memory at once, other streams only after its work has run") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  CUdeviceptr first = 0;
  {
    const Hold hold(test.stream);
    first = test.use(test.allocate(1000), test.stream);
    CHECK(test.use(test.allocate(1000, test.other), test.other) != first);
    const AllocationPtr somewhere = test.allocate(1000);
    CHECK(somewhere->pointer() != first);
    AllocationPtr same = test.allocate(1000, test.stream);
    CHECK(same->pointer() == first);
    same.reset();  // not used by any work, but the earlier work is still in flight
    CHECK(test.allocate(1000, test.stream)->pointer() == first);
    CHECK(test.allocate(1000, test.other)->pointer() != first);
  }
  must(test.stream->synchronize());
  must(test.other->synchronize());
  std::vector<AllocationPtr> all;
  for (int i = 0; i < 3; ++i) all.push_back(test.allocate(1000, test.other));
  CHECK(std::any_of(all.begin(), all.end(),
                    [&](const AllocationPtr& each) { return each->pointer() == first; }));
}

TEST_CASE("cuda: released memory serves only requests a little smaller than its block") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  const CUdeviceptr first = test.allocate(10000)->pointer();
  CHECK(test.allocate(10001)->pointer() != first);
  CHECK(test.allocate(8000)->pointer() != first);
  CHECK(test.allocate(9000)->pointer() == first);
  const CUdeviceptr large = test.allocate(5'000'000)->pointer();
  const AllocationPtr larger = test.allocate(5'100'000);
  CHECK(larger->pointer() == large);
  CHECK(larger->bytes() == 5'100'000);
  CHECK(larger->allocated_bytes() >= 5'100'000);
  CHECK(larger->allocated_bytes() < 5'700'000);
}

TEST_CASE("cuda: another thread can free memory that a stream of this thread has used") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  const CUdeviceptr first = test.use(test.allocate(1000), test.stream);
  const CUdeviceptr second = test.use(test.allocate(30000), test.stream);
  must(test.stream->begin_capture());  // no other thread may record on it now
  std::thread([&] {
    CHECK(test.allocate(2000)->pointer() != first);
    cuda::wait_for_retired(test.gpu.device());
    AllocationPtr allocation = test.allocate(30000);
    CHECK((!test.gpu.is_simulated() || allocation->pointer() != second));
  }).join();
  test.stream->abandon_capture();
  must(test.stream->synchronize());
}

TEST_CASE("cuda: the pool limits its bytes and its number of blocks") {
  PoolTest test;
  // Addresses tell blocks apart only on a simulated device, which never reuses one.
  if (!test.gpu.is_there() || !test.gpu.is_simulated()) return;
  const std::int64_t most = test.gpu.device().properties().total_memory / 8;
  const CUdeviceptr first = test.allocate(most / 2)->pointer();
  test.allocate(most / 4).reset();
  CHECK(test.allocate(most / 2)->pointer() == first);
  test.allocate(most / 5 * 3).reset();  // frees the other two, which are older
  CHECK(test.allocate(most / 2)->pointer() != first);

  std::vector<AllocationPtr> many;
  for (int i = 0; i < 300; ++i) many.push_back(test.allocate(64));
  const CUdeviceptr oldest = many.front()->pointer();
  std::vector<CUdeviceptr> again;
  for (AllocationPtr& each : many) each.reset();
  for (AllocationPtr& each : many) {
    each = test.allocate(64);
    again.push_back(each->pointer());
  }
  CHECK(std::find(again.begin(), again.end(), oldest) == again.end());
}

TEST_CASE("cuda: empty_pool frees memory that no work uses") {
  PoolTest test;
  if (!test.gpu.is_there() || !test.gpu.is_simulated()) return;
  const CUdeviceptr passed = test.allocate(1000)->pointer();
  cuda::empty_pool();
  CHECK(test.allocate(1000, test.stream)->pointer() != passed);
}

TEST_CASE("cuda: a global capture of another library does not forbid our allocations") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  // On this thread, which is the harder case.
  REQUIRE(driver().cuStreamBeginCapture_v2(test.gpu.stream().get(), cuda::CUstreamCaptureMode{0}) ==
          cuda::CUDA_SUCCESS);
  AllocationPtr pinned;
  must(cuda::Allocation::on_host(test.gpu.device(), 1000, &pinned));
  const CUdeviceptr used = test.use(test.allocate(1000), test.other);
  CHECK(test.allocate(1000)->pointer() != 0);  // asks whether the work on `used` has run
  pinned.reset();
  cuda::wait_for_retired(test.gpu.device());
  CHECK((!test.gpu.is_simulated() || test.allocate(1000)->pointer() != used));
  must(test.gpu.device().load_all_kernels());
  cuda::CUgraph graph = nullptr;
  CHECK(driver().cuStreamEndCapture(test.gpu.stream().get(), &graph) == cuda::CUDA_SUCCESS);
  CHECK(driver().cuGraphDestroy(graph) == cuda::CUDA_SUCCESS);
}

TEST_CASE("cuda: later work on a stream does not wait for a callback") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  std::promise<void> enough;
  std::promise<void> called;
  auto state = std::pair(enough.get_future(), &called);
  const auto wait = [](cuda::CUstream, CUresult, void* data) {
    auto& [enough, called] = *static_cast<decltype(state)*>(data);
    // Waits with a limit: if the stream does wait for the callback, the test fails instead of
    // hanging.
    if (enough.wait_for(std::chrono::seconds(10)) == std::future_status::ready) called->set_value();
  };
  must(test.stream->call_back(wait, &state));
  const AllocationPtr memory = test.allocate(1000);
  test.use(memory, test.stream);
  must(test.stream->synchronize());
  enough.set_value();
  CHECK(called.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  const std::shared_ptr<cuda::Fence> end = test.stream->callback_fence();
  REQUIRE(end != nullptr);
  CHECK(end->wait());
}

// Makes the driver report memory as ranges of 256 bytes, as it does for memory of its
// virtual-memory API.
struct Chunked {
  static constexpr CUdeviceptr kChunk = 256;
  static inline cuda::Driver* real = const_cast<cuda::Driver*>(&driver());
  static inline cuda::Driver copy;
  static inline int is_whole = 0;

  explicit Chunked(int whole) {
    copy = *real;
    is_whole = whole;
    real->cuMemGetAddressRange_v2 = [](CUdeviceptr* start, std::size_t* bytes,
                                       CUdeviceptr pointer) -> CUresult {
      CUdeviceptr begin = 0;
      std::size_t size = 0;
      const CUresult result = copy.cuMemGetAddressRange_v2(&begin, &size, pointer);
      *start = begin + (pointer - begin) / kChunk * kChunk;
      *bytes = std::min(kChunk, begin + size - *start);
      return result;
    };
    real->cuPointerGetAttribute = [](void* value, cuda::CUpointer_attribute attribute,
                                     CUdeviceptr pointer) -> CUresult {
      if (attribute != cuda::CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE) {
        return copy.cuPointerGetAttribute(value, attribute, pointer);
      }
      *static_cast<int*>(value) = is_whole;
      return cuda::CUDA_SUCCESS;
    };
  }
  ~Chunked() { *real = copy; }
  Chunked(const Chunked&) = delete;
  Chunked& operator=(const Chunked&) = delete;
};

TEST_CASE(
    "cuda: foreign memory that was mapped in chunks is checked up to its chunk or as a whole") {
  PoolTest test;
  if (!test.gpu.is_there()) return;
  const AllocationPtr memory = test.allocate(1000);
  const auto foreign = [&](CUdeviceptr pointer, std::int64_t bytes) {
    AllocationPtr made;
    return cuda::Allocation::foreign(test.gpu.device(), pointer, bytes, &made);
  };
  {
    const Chunked chunked(0);
    CHECK(foreign(memory->pointer(), 1000).ok());
    CHECK(foreign(memory->pointer() + 300, 700).ok());
    if (test.gpu.is_simulated()) {
      const Status status = foreign(memory->pointer() + 300, 701);
      CHECK(status.code() == Code::kInvalidValue);
      CHECK(status.message().ends_with("at least 701 bytes. Only 700 bytes are there"));
    }
  }
  const Chunked whole(1);
  const Status status = foreign(memory->pointer(), 257);
  CHECK(status.message().ends_with("at least 257 bytes. Only 256 bytes are there"));
}

}  // namespace
}  // namespace rmsnorm::test
