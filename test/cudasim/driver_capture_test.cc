#include <functional>
#include <thread>

#include "driver_test_support.h"

namespace cudasim {
namespace {

CUstreamCaptureStatus status_of(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  CHECK(cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS);
  return status;
}

void begin(CUstream stream) {
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
}

// Ends the capture and returns the result. Only a success may return a graph.
CUresult end(CUstream stream) {
  auto graph = reinterpret_cast<CUgraph>(1);
  const CUresult result = cuStreamEndCapture(stream, &graph);
  CHECK((graph == nullptr) == (result != CUDA_SUCCESS));
  if (result == CUDA_SUCCESS) CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  return result;
}

TEST_CASE("a stream captures from begin to end, as do streams that wait for it") {
  const Simulation simulation;
  const CUstream origin = make_stream();
  const CUstream fork = make_stream();
  const CUstream other = make_stream();
  const auto statuses = [&] {
    return std::vector{status_of(origin), status_of(fork), status_of(other)};
  };
  const auto none = CU_STREAM_CAPTURE_STATUS_NONE, active = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  CHECK(statuses() == std::vector{none, none, none});
  begin(origin);
  CHECK(statuses() == std::vector{active, none, none});
  chain(origin, fork);
  CHECK(statuses() == std::vector{active, active, none});
  chain(fork, origin);
  CHECK(statuses() == std::vector{active, active, none});
  CHECK(end(origin) == CUDA_SUCCESS);
  CHECK(statuses() == std::vector{none, none, none});
  CHECK(cuStreamSynchronize(fork) == CUDA_SUCCESS);
}

TEST_CASE("invalid capture calls are refused and leave the capture valid") {
  const Simulation simulation;
  const CUstream stream = make_stream();
  CHECK(end(stream) == CUDA_ERROR_ILLEGAL_STATE);
  CHECK(cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED) ==
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(cuStreamBeginCapture_v2(stream, CUstreamCaptureMode{3}) == CUDA_ERROR_INVALID_VALUE);
  begin(stream);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) ==
        CUDA_ERROR_ILLEGAL_STATE);
  CHECK(cuStreamEndCapture(stream, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamIsCapturing(stream, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(end(stream) == CUDA_SUCCESS);  // the refused calls did not invalidate it
}

// Sets the calling thread's capture mode while the object exists.
class ThreadMode {
 public:
  explicit ThreadMode(CUstreamCaptureMode mode) : mode_(mode) { exchange(); }
  ~ThreadMode() { exchange(); }
  ThreadMode(const ThreadMode&) = delete;
  ThreadMode& operator=(const ThreadMode&) = delete;

 private:
  void exchange() { CHECK(cuThreadExchangeStreamCaptureMode(&mode_) == CUDA_SUCCESS); }
  CUstreamCaptureMode mode_;
};

TEST_CASE("cuThreadExchangeStreamCaptureMode exchanges the mode of the thread") {
  const Simulation simulation;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  CHECK(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
  CHECK(mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
  CHECK(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
  CHECK(mode == CU_STREAM_CAPTURE_MODE_RELAXED);
  mode = CUstreamCaptureMode{3};
  CHECK(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuThreadExchangeStreamCaptureMode(nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the modes of capture and thread decide whether an unsafe call is allowed") {
  const auto global = CU_STREAM_CAPTURE_MODE_GLOBAL, local = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
             relaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
  struct Case {
    CUstreamCaptureMode capture, thread;
    bool is_of_this_thread, is_allowed;
  };
  const Case cases[] = {
      {global, global, true, false}, {global, global, false, false}, {global, local, true, false},
      {global, local, false, true},  {global, relaxed, true, true},  {global, relaxed, false, true},
      {local, global, true, false},  {local, global, false, true},   {local, relaxed, true, true},
      {relaxed, global, true, true}, {relaxed, global, false, true},
  };
  for (const Case& each : cases) {
    CAPTURE(each.capture);
    CAPTURE(each.thread);
    CAPTURE(each.is_of_this_thread);
    const Simulation simulation;
    const CUstream stream = make_stream();
    const CUcontext context = current_context();
    const auto begin_it = [&] {
      current_context() = context;
      CHECK(cuStreamBeginCapture_v2(stream, each.capture) == CUDA_SUCCESS);
    };
    if (each.is_of_this_thread) {
      begin_it();
    } else {
      std::thread(begin_it).join();
    }
    const ThreadMode mode(each.thread);
    CUdeviceptr pointer = 0;
    CHECK(cuMemAlloc_v2(&pointer, 4) ==
          (each.is_allowed ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    CHECK(end(stream) == (each.is_allowed ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
  }
}

TEST_CASE("a global capture refuses every call that may wait") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(4);
  const Pinned pinned(1);
  const CUevent event = make_event();
  const CUstream other = make_stream();
  const auto refused = [](const auto& call) {
    const CUstream stream = make_stream();
    CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
    CHECK(call() == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    CHECK(end(stream) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  };
  refused([&] { return cuMemFree_v2(memory); });
  refused([&] { return cuMemFreeHost(pinned.data); });
  refused([&] { return cuEventQuery(event); });
  refused([&] { return cuEventSynchronize(event); });
  refused([&] { return cuStreamQuery(other); });
  refused([&] { return cuStreamSynchronize(other); });
  refused([&] {
    CUmodule module = nullptr;
    return cuModuleLoadData(&module, kPtx);
  });
  refused([] {
    void* more = nullptr;
    return cuMemHostAlloc(&more, 4, CU_MEMHOSTALLOC_PORTABLE);
  });
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);  // the refused call did not free it
}

TEST_CASE("a call that a capture does not allow invalidates it") {
  struct Machine {
    const Simulation simulation;
    const CUdeviceptr memory = device_copy({1, 2, 3, 4});
    const CUstream stream = make_stream();
    const CUstream fork = make_stream();
    const CUstream other = make_stream();
    const CUevent recorded = make_event(CU_EVENT_DEFAULT);  // outside the capture
    const CUevent captured = make_event(CU_EVENT_DEFAULT);
    const CUevent never = make_event();
    unsigned pageable = 0;
    float time = 0;
  };
  const struct {
    const char* what;
    CUresult expected;
    CUresult (*call)(Machine& at);
  } cases[] = {
      {"synchronize the stream", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuStreamSynchronize(at.stream); }},
      {"synchronize a forked stream", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuStreamSynchronize(at.fork); }},
      {"query the stream", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuStreamQuery(at.stream); }},
      {"add a callback", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) {
         return cuStreamAddCallback(
             at.stream, [](CUstream, CUresult, void*) {}, nullptr, 0);
       }},
      {"copy from pageable memory", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuMemcpyHtoDAsync_v2(at.memory, &at.pageable, 4, at.stream); }},
      {"copy to pageable memory", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuMemcpyDtoHAsync_v2(&at.pageable, at.memory, 4, at.stream); }},
      {"query a captured event", CUDA_ERROR_CAPTURED_EVENT,
       [](Machine& at) { return cuEventQuery(at.captured); }},
      {"synchronize a captured event", CUDA_ERROR_CAPTURED_EVENT,
       [](Machine& at) { return cuEventSynchronize(at.captured); }},
      {"elapsed time from a captured event", CUDA_ERROR_CAPTURED_EVENT,
       [](Machine& at) { return cuEventElapsedTime(&at.time, at.captured, at.recorded); }},
      {"elapsed time to a captured event", CUDA_ERROR_CAPTURED_EVENT,
       [](Machine& at) { return cuEventElapsedTime(&at.time, at.recorded, at.captured); }},
      {"wait for work outside the capture", CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
       [](Machine& at) { return cuStreamWaitEvent(at.stream, at.recorded, 0); }},
      {"wait for an event that was never recorded", CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
       [](Machine& at) { return cuStreamWaitEvent(at.fork, at.never, 0); }},
      {"make the legacy stream wait for a captured event", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
       [](Machine& at) { return cuStreamWaitEvent(nullptr, at.captured, 0); }},
      {"end the capture on a forked stream", CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
       [](Machine& at) { return end(at.fork); }},
      {"make another capture wait for a captured event", CUDA_ERROR_STREAM_CAPTURE_MERGE,
       [](Machine& at) {
         begin(at.other);
         const CUresult result = cuStreamWaitEvent(at.other, at.captured, 0);
         CHECK(status_of(at.other) == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
         CHECK(end(at.other) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
         return result;
       }},
      {"destroy a forked stream", CUDA_SUCCESS,
       [](Machine& at) { return cuStreamDestroy_v2(at.fork); }},
  };
  for (const auto& [what, expected, call] : cases) {
    CAPTURE(what);
    Machine at;
    REQUIRE(cuEventRecord(at.recorded, at.other) == CUDA_SUCCESS);
    REQUIRE(cuStreamSynchronize(at.other) == CUDA_SUCCESS);
    begin(at.stream);
    REQUIRE(cuEventRecord(at.captured, at.stream) == CUDA_SUCCESS);
    REQUIRE(cuStreamWaitEvent(at.fork, at.captured, 0) == CUDA_SUCCESS);
    CHECK(call(at) == expected);
    CHECK(status_of(at.stream) == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    CHECK(cuMemsetD32Async(at.memory, 0, 1, at.stream) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(cuEventRecord(at.never, at.stream) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(cuStreamWaitEvent(at.other, at.captured, 0) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(end(at.stream) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    // The streams and the memory are as if there had been no capture.
    CHECK(cuStreamSynchronize(at.stream) == CUDA_SUCCESS);
    CHECK(synchronize() == CUDA_SUCCESS);
    CHECK(host_copy(at.memory, 4) == std::vector<unsigned>{1, 2, 3, 4});
  }
}

TEST_CASE("forked work must be joined before its capture ends") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  const CUstream origin = make_stream();
  const CUstream fork = make_stream();
  const CUstream further = make_stream();
  const auto work = [&](CUstream stream) {
    CHECK(cuMemsetD32Async(memory, 0, 4, stream) == CUDA_SUCCESS);
  };
  begin(origin);
  work(origin);
  chain(origin, fork);
  SUBCASE("unjoined work is refused") {
    work(fork);
    CHECK(end(origin) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  }
  SUBCASE("work after the join is refused") {
    work(fork);
    chain(fork, origin);
    work(fork);
    CHECK(end(origin) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  }
  SUBCASE("joined work is accepted") {
    work(fork);
    chain(fork, origin);
    CHECK(end(origin) == CUDA_SUCCESS);
  }
  SUBCASE("work joined through another stream is accepted") {
    work(fork);
    chain(fork, further);
    work(further);
    chain(further, origin);
    CHECK(end(origin) == CUDA_SUCCESS);
  }
  SUBCASE("a fork without work needs no join") { CHECK(end(origin) == CUDA_SUCCESS); }
  CHECK(status_of(fork) == CU_STREAM_CAPTURE_STATUS_NONE);
  CHECK(synchronize() == CUDA_SUCCESS);
}

TEST_CASE("the legacy stream is refused while a blocking stream captures") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  for (const bool blocking : {true, false}) {
    CAPTURE(blocking);
    const auto implicit = blocking ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS;
    const auto ended = blocking ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
    const CUevent event = make_event();
    const CUstream stream = make_stream(blocking ? 0 : CU_STREAM_NON_BLOCKING);
    const std::function<CUresult()> calls[] = {
        [&] { return cuMemsetD32Async(memory, 1, 4, nullptr); },
        [&] { return cuStreamSynchronize(nullptr); },
        [&] { return cuEventRecord(event, nullptr); },
        [&] { return cuStreamWaitEvent(nullptr, event, 0); },
    };
    for (const auto& call : calls) {
      begin(stream);
      CHECK(cuStreamIsCapturing(nullptr, &status) == implicit);
      CHECK(status_of(stream) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
      CHECK(call() == implicit);
      CHECK(end(stream) == ended);
      CHECK(call() == CUDA_SUCCESS);
    }
  }
}

TEST_CASE("a relaxed capture allows allocations, frees and waits") {
  Simulation simulation;
  const CUdeviceptr memory = device_copy({1});
  const CUstream stream = make_stream();
  const CUstream other = make_stream();
  begin(stream);
  CHECK(cuMemsetD32Async(memory, 0, 1, stream) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(allocate(16)) == CUDA_SUCCESS);
  CHECK(cuMemsetD32Async(memory, 0x02020202, 1, other) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(other) == CUDA_SUCCESS);
  CHECK(host_copy(memory, 1) == std::vector<unsigned>{0x02020202});
  CHECK(end(stream) == CUDA_SUCCESS);
}

TEST_CASE("an event of an ended capture is refused until it is recorded again") {
  const Simulation simulation;
  const CUstream stream = make_stream();
  const CUevent event = make_event();
  begin(stream);
  CHECK(cuEventRecord(event, stream) == CUDA_SUCCESS);
  CHECK(end(stream) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_ERROR_CAPTURED_EVENT);
  CHECK(cuStreamWaitEvent(stream, event, 0) == CUDA_ERROR_CAPTURED_EVENT);
  CHECK(cuEventRecord(event, stream) == CUDA_SUCCESS);
  CHECK(cuEventSynchronize(event) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(stream, event, 0) == CUDA_SUCCESS);
}

TEST_CASE("destroying the stream that a capture began on ends the capture") {
  Simulation simulation;
  const CUstream stream = make_stream();
  const CUstream fork = make_stream();
  begin(stream);
  chain(stream, fork);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(status_of(fork) == CU_STREAM_CAPTURE_STATUS_NONE);
  CHECK(cuStreamDestroy_v2(fork) == CUDA_SUCCESS);
  simulation.release();
  CHECK(simulation.trace().empty());
}

TEST_CASE("the end of a context reports a capture as a leak") {
  Simulation simulation;
  const CUstream stream = make_stream();
  const CUstream fork = make_stream();
  begin(stream);
  chain(stream, fork);
  simulation.release();
  CHECK(simulation.traced({R"("kind":"leak")", "1 capture still"}) == 1);
  CHECK(simulation.traced({R"("kind":"leak")", "2 streams still"}) == 1);
  CHECK(simulation.faults("leak") == 2);
}

}  // namespace
}  // namespace cudasim
