// Queues whose stream somebody else uses behind their backs, and marks, on whatever device there
// is.

#include "cuda/runtime/queue.h"

#include <doctest/doctest.h>

#include <memory>
#include <set>

#include "cuda/runtime/allocation.h"
#include "cuda/runtime/graph.h"
#include "cuda/runtime/recorded_event.h"
#include "cuda_support.h"

namespace rmsnorm::test {
namespace {

using cuda::AllocationPtr;
using cuda::CUgraph;
using cuda::CUstream;
using cuda::driver;
using cuda::QueuePtr;

struct Work {
  explicit Work(cuda::Device& device) {
    must(cuda::Queue::make(device, &queue));
    must(cuda::Allocation::on_device(device, 64, &memory));
  }
  Status fill(const QueuePtr& on) {
    return on->enqueue({&memory}, [&] {
      return RMSNORM_CUDA(cuMemsetD32Async, memory->pointer(), 1, 16, on->stream());
    });
  }
  QueuePtr queue;
  AllocationPtr memory;
};

void begin_capture(CUstream stream) {
  REQUIRE(driver().cuStreamBeginCapture_v2(stream, cuda::CU_STREAM_CAPTURE_MODE_RELAXED) ==
          cuda::CUDA_SUCCESS);
}

void end_capture(CUstream stream) {
  CUgraph graph = nullptr;
  REQUIRE(driver().cuStreamEndCapture(stream, &graph) == cuda::CUDA_SUCCESS);
  REQUIRE(driver().cuGraphDestroy(graph) == cuda::CUDA_SUCCESS);
}

TEST_CASE("cuda: a capture that somebody else begins or ends on a shared stream is noticed") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  const CUstream stream = work.queue->share();
  must(work.fill(work.queue));

  begin_capture(stream);
  CHECK(work.fill(work.queue).code() == Code::kInvalidState);
  CHECK(work.queue->synchronize().code() == Code::kInvalidState);
  end_capture(stream);
  must(work.fill(work.queue));
  must(work.queue->synchronize());

  must(work.queue->begin_capture());
  must(work.fill(work.queue));
  end_capture(stream);
  CHECK(work.fill(work.queue).code() == Code::kInvalidState);
  std::unique_ptr<cuda::Graph> graph;
  CHECK(cuda::Graph::end_capture(*work.queue, &graph).code() == Code::kCuda);
  CHECK(graph == nullptr);
  must(work.fill(work.queue));  // all is as if there had been no capture
  must(work.queue->synchronize());
}

TEST_CASE("cuda: a mark waits for the end of a capture to be recorded") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  const CUstream stream = work.queue->share();
  must(work.fill(work.queue));
  begin_capture(stream);
  const std::shared_ptr<cuda::Mark> mark = work.queue->mark();
  REQUIRE(mark != nullptr);
  CHECK_FALSE(mark->is_recorded());
  CHECK_FALSE(mark->has_passed());
  CHECK_FALSE(mark->wait());
  CHECK_FALSE(work.memory->wait_until_idle());
  end_capture(stream);
  CHECK(work.queue->mark() == mark);
  CHECK(mark->wait());
  CHECK(work.memory->is_idle());
}

TEST_CASE("cuda: a closed queue refuses everything, and its mark passes") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  Work work(gpu.device());
  std::unique_ptr<cuda::RecordedEvent> event;
  must(cuda::RecordedEvent::make(gpu.device(), true, &event));
  must(work.fill(work.queue));
  SUBCASE("as it is") { work.queue->close(); }
  SUBCASE("in a capture of somebody else's") {
    begin_capture(work.queue->share());
    work.queue->close();
  }
  SUBCASE("in a capture of its own") {
    must(work.queue->begin_capture());
    must(work.fill(work.queue));
    work.queue->close();
  }
  CHECK(work.queue->mark()->wait());
  CHECK(work.fill(work.queue).code() == Code::kDisposed);
  CHECK(work.queue->record(*event).code() == Code::kDisposed);
  CHECK(work.queue->synchronize().code() == Code::kDisposed);
  CHECK(work.queue->begin_capture().code() == Code::kDisposed);
  bool has_passed = false;
  CHECK(work.queue->has_passed(&has_passed).code() == Code::kDisposed);
}

}  // namespace
}  // namespace rmsnorm::test
