// Streams whose handle another library uses as well, and fences. Runs on the first device, if there
// is one.

#include "cuda/runtime/stream.h"

#include <doctest/doctest.h>

#include <memory>
#include <set>

#include "cuda/runtime/allocation.h"
#include "cuda/runtime/event.h"
#include "cuda/runtime/graph.h"
#include "cuda_support.h"

namespace rmsnorm::test {
namespace {

using cuda::AllocationPtr;
using cuda::CUgraph;
using cuda::CUstream;
using cuda::driver;
using cuda::StreamPtr;

struct Work {
  explicit Work(cuda::Device& device) {
    must(cuda::Stream::make(device, &stream));
    must(cuda::Allocation::on_device(device, 64, nullptr, &memory));
  }
  Status fill(const StreamPtr& on) {
    return on->enqueue({&memory}, [&] {
      return RMSNORM_CUDA(cuMemsetD32Async, memory->pointer(), 1, 16, on->handle());
    });
  }
  StreamPtr stream;
  AllocationPtr memory;
};

void begin_capture(CUstream handle) {
  REQUIRE(driver().cuStreamBeginCapture_v2(handle, cuda::CU_STREAM_CAPTURE_MODE_RELAXED) ==
          cuda::CUDA_SUCCESS);
}

void end_capture(CUstream handle) {
  CUgraph graph = nullptr;
  REQUIRE(driver().cuStreamEndCapture(handle, &graph) == cuda::CUDA_SUCCESS);
  REQUIRE(driver().cuGraphDestroy(graph) == cuda::CUDA_SUCCESS);
}

TEST_CASE("cuda: a capture that another library begins or ends on a shared stream is detected") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  const CUstream handle = work.stream->share();
  must(work.fill(work.stream));

  begin_capture(handle);
  CHECK(work.fill(work.stream).code() == Code::kInvalidState);
  CHECK(work.stream->synchronize().code() == Code::kInvalidState);
  end_capture(handle);
  must(work.fill(work.stream));
  must(work.stream->synchronize());

  must(work.stream->begin_capture());
  must(work.fill(work.stream));
  end_capture(handle);
  CHECK(work.fill(work.stream).code() == Code::kInvalidState);
  std::unique_ptr<cuda::Graph> graph;
  CHECK(cuda::Graph::end_capture(*work.stream, &graph).code() == Code::kCuda);
  CHECK(graph == nullptr);
  must(work.fill(work.stream));  // works as if there had been no capture
  must(work.stream->synchronize());
}

TEST_CASE("cuda: a fence is recorded only when the capture has ended") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  const CUstream handle = work.stream->share();
  must(work.fill(work.stream));
  begin_capture(handle);
  const std::shared_ptr<cuda::Fence> fence = work.stream->fence();
  REQUIRE(fence != nullptr);
  CHECK_FALSE(fence->is_recorded());
  CHECK_FALSE(fence->has_passed());
  CHECK_FALSE(fence->wait());
  CHECK_FALSE(work.memory->wait_until_idle());
  end_capture(handle);
  CHECK(work.stream->fence() == fence);
  CHECK(fence->wait());
  CHECK(work.memory->is_idle());
}

TEST_CASE("cuda: a closed stream refuses every call, and its fence passes") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  std::unique_ptr<cuda::Event> event;
  must(cuda::Event::make(gpu.device(), true, &event));
  must(work.fill(work.stream));
  SUBCASE("outside a capture") { work.stream->close(); }
  SUBCASE("in a capture that another library began") {
    begin_capture(work.stream->share());
    work.stream->close();
  }
  SUBCASE("in a capture of its own") {
    must(work.stream->begin_capture());
    must(work.fill(work.stream));
    work.stream->close();
  }
  CHECK(work.stream->fence()->wait());
  CHECK(work.fill(work.stream).code() == Code::kDisposed);
  CHECK(work.stream->record(*event).code() == Code::kDisposed);
  CHECK(work.stream->synchronize().code() == Code::kDisposed);
  CHECK(work.stream->begin_capture().code() == Code::kDisposed);
  bool has_passed = false;
  CHECK(work.stream->has_passed(&has_passed).code() == Code::kDisposed);
}

}  // namespace
}  // namespace rmsnorm::test
