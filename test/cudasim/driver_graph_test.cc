#include <atomic>
#include <set>
#include <thread>

#include "driver_test_support.h"

namespace cudasim {
namespace {

using Values = std::vector<unsigned>;

CUresult store(CUdeviceptr to, unsigned value, CUstream stream) {
  return launch(load_kernel("store"), {&to, &value}, stream);
}

CUresult add_one(CUdeviceptr to, CUstream stream) {
  unsigned n = 1;
  return launch(load_kernel("add_one"), {&to, &n}, stream);
}

// Captures the work that body(stream) queues.
template <class Body>
CUgraph capture(const Body& body) {
  const CUstream stream = make_stream();
  CUgraph graph = nullptr;
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  body(stream);
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  REQUIRE(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  return graph;
}

CUgraphExec instantiate(CUgraph graph) {
  CUgraphExec executable = nullptr;
  REQUIRE(cuGraphInstantiate_v2(&executable, graph, nullptr, nullptr, 0) == CUDA_SUCCESS);
  return executable;
}

template <class Body>
CUgraphExec executable(const Body& body) {
  const CUgraph graph = capture(body);
  const CUgraphExec made = instantiate(graph);
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);  // the executable does not need it
  return made;
}

TEST_CASE("captured work runs with each launch, on any stream, and not before") {
  const Simulation simulation;
  const CUdeviceptr memory = device_copy({1});
  const CUgraphExec graph =
      executable([&](CUstream stream) { CHECK(add_one(memory, stream) == CUDA_SUCCESS); });
  CHECK(synchronize() == CUDA_SUCCESS);
  CHECK(host_copy(memory, 1) == Values{1});
  const CUstream stream = make_stream();
  for (const CUstream where : {stream, stream, CUstream{nullptr}}) {
    CHECK(cuGraphLaunch(graph, where) == CUDA_SUCCESS);
  }
  CHECK(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
  CHECK(synchronize() == CUDA_SUCCESS);
  CHECK(host_copy(memory, 1) == Values{4});
}

TEST_CASE("a graph has the kernel parameters of its capture") {
  const Simulation simulation;
  const CUdeviceptr memory = device_copy({1, 1});
  CUdeviceptr to = memory;
  unsigned value = 2;
  const CUgraphExec graph = executable([&](CUstream stream) {
    CHECK(launch(load_kernel("store"), {&to, &value}, stream) == CUDA_SUCCESS);
    to += 4;
    value = 3;
  });
  CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
  CHECK(host_copy(memory, 2) == Values{2, 1});
}

TEST_CASE("a graph runs kernels, fills and every kind of copy") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(16);
  Pinned from(1), to(4);
  const CUgraphExec graph = executable([&](CUstream stream) {
    CHECK(cuMemcpyHtoDAsync_v2(memory, from.data, 4, stream) == CUDA_SUCCESS);
    CHECK(add_one(memory, stream) == CUDA_SUCCESS);
    CHECK(cuMemsetD16Async(memory + 4, 7, 2, stream) == CUDA_SUCCESS);
    CHECK(cuMemcpyDtoDAsync_v2(memory + 8, memory, 8, stream) == CUDA_SUCCESS);
    CHECK(cuMemcpyDtoHAsync_v2(to.data, memory, 16, stream) == CUDA_SUCCESS);
  });
  for (const unsigned value : {10u, 20u}) {
    from[0] = value;  // each launch reads it
    CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
    for (int i = 0; i < 4; ++i) CHECK(to[i] == (i % 2 == 0 ? value + 1 : 0x00070007));
  }
  CHECK(simulation.traced({R"("type":"fault")"}) == 0);
}

// The results, over many seeds, of two branches of a graph that write to the same word.
std::set<unsigned> left_by_branches(bool with_edge) {
  std::set<unsigned> values;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Simulation simulation(Simulation::seeded(seed));
    const CUdeviceptr memory = device_copy({0});
    const CUstream fork = make_stream();
    const CUgraphExec graph = executable([&](CUstream stream) {
      chain(stream, fork);
      CHECK(store(memory, 1, stream) == CUDA_SUCCESS);
      if (with_edge) chain(stream, fork);
      CHECK(store(memory, 2, fork) == CUDA_SUCCESS);
      chain(fork, stream);
    });
    CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
    values.insert(host_copy(memory, 1).front());
  }
  return values;
}

TEST_CASE("a missing event between two streams of a capture shows in the results") {
  CHECK(left_by_branches(true) == std::set<unsigned>{2});
  CHECK(left_by_branches(false) == std::set<unsigned>{1, 2});
}

TEST_CASE("a graph launch runs in stream order") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Simulation simulation(Simulation::seeded(seed));
    const CUdeviceptr memory = device_copy({0, 0});
    const CUstream fork = make_stream();
    const CUgraphExec graph = executable([&](CUstream stream) {
      chain(stream, fork);
      CHECK(add_one(memory, stream) == CUDA_SUCCESS);
      CHECK(add_one(memory + 4, fork) == CUDA_SUCCESS);
      chain(fork, stream);
    });
    // The legacy stream is ordered with blocking streams.
    const CUstream stream = make_stream(0);
    const CUstream before = seed % 2 == 0 ? stream : nullptr;
    const CUstream after = seed % 3 == 0 ? stream : nullptr;
    CHECK(cuMemsetD32Async(memory, 10, 2, before) == CUDA_SUCCESS);
    CHECK(cuGraphLaunch(graph, stream) == CUDA_SUCCESS);
    CHECK(cuMemcpyDtoDAsync_v2(memory, memory + 4, 4, after) == CUDA_SUCCESS);
    CHECK(cuGraphLaunch(graph, stream) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
    CHECK(host_copy(memory, 2) == Values{12, 12});
  }
}

// The results, over many seeds, of two launches on unordered streams. Each adds 1 to a word, from
// 0, in three steps.
std::set<unsigned> added(bool same_executable) {
  std::set<unsigned> values;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Simulation simulation(Simulation::seeded(seed));
    const CUdeviceptr memory = device_copy({0, 0, 0});
    const auto make = [&](CUdeviceptr scratch) {
      return executable([&](CUstream stream) {
        CHECK(cuMemcpyDtoDAsync_v2(scratch, memory, 4, stream) == CUDA_SUCCESS);
        CHECK(add_one(scratch, stream) == CUDA_SUCCESS);
        CHECK(cuMemcpyDtoDAsync_v2(memory, scratch, 4, stream) == CUDA_SUCCESS);
      });
    };
    const CUgraphExec first = make(memory + 4);
    const CUgraphExec second = same_executable ? first : make(memory + 8);
    CHECK(cuGraphLaunch(first, make_stream()) == CUDA_SUCCESS);
    CHECK(cuGraphLaunch(second, make_stream()) == CUDA_SUCCESS);
    CHECK(synchronize() == CUDA_SUCCESS);
    values.insert(host_copy(memory, 1).front());
  }
  return values;
}

TEST_CASE("launches of one executable graph do not overlap") {
  CHECK(added(true) == std::set<unsigned>{2});
  CHECK(added(false).contains(1));
}

TEST_CASE("a graph launch can be captured") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Simulation simulation(Simulation::seeded(seed));
    const CUdeviceptr memory = device_copy({1, 0, 1});
    const CUstream fork = make_stream();
    const CUgraphExec inner = executable([&](CUstream stream) {
      chain(stream, fork);
      CHECK(add_one(memory, stream) == CUDA_SUCCESS);
      CHECK(cuMemcpyDtoDAsync_v2(memory + 4, memory, 4, stream) == CUDA_SUCCESS);
      CHECK(add_one(memory + 8, fork) == CUDA_SUCCESS);
      chain(fork, stream);
    });
    const CUgraphExec empty = executable([](CUstream) {});
    const CUgraphExec outer = executable([&](CUstream stream) {
      CHECK(cuGraphLaunch(empty, stream) == CUDA_SUCCESS);
      CHECK(store(memory, 10, stream) == CUDA_SUCCESS);
      CHECK(store(memory + 8, 20, stream) == CUDA_SUCCESS);
      CHECK(cuGraphLaunch(inner, stream) == CUDA_SUCCESS);
      CHECK(cuGraphLaunch(empty, stream) == CUDA_SUCCESS);
      CHECK(cuGraphLaunch(inner, stream) == CUDA_SUCCESS);
    });
    CHECK(cuGraphLaunch(empty, nullptr) == CUDA_SUCCESS);
    CHECK(cuGraphLaunch(outer, nullptr) == CUDA_SUCCESS);
    CHECK(host_copy(memory, 3) == Values{12, 12, 22});
  }
}

TEST_CASE("a graph can span two devices") {
  Simulation simulation(Simulation::devices(2));
  CUcontext contexts[2] = {};
  REQUIRE(cuCtxGetCurrent(&contexts[0]) == CUDA_SUCCESS);
  REQUIRE(cuDevicePrimaryCtxRetain(&contexts[1], 1) == CUDA_SUCCESS);
  const CUdeviceptr here = device_copy({1});
  REQUIRE(cuCtxSetCurrent(contexts[1]) == CUDA_SUCCESS);
  const CUdeviceptr there = device_copy({0});
  const CUstream fork = make_stream();
  REQUIRE(cuCtxSetCurrent(contexts[0]) == CUDA_SUCCESS);
  const CUgraphExec graph = executable([&](CUstream stream) {
    CHECK(add_one(here, stream) == CUDA_SUCCESS);
    chain(stream, fork);
    CHECK(cuMemcpyDtoDAsync_v2(there, here, 4, fork) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(contexts[1]) == CUDA_SUCCESS);
    CHECK(add_one(there, fork) == CUDA_SUCCESS);
    const CUevent event = make_event();
    REQUIRE(cuEventRecord(event, fork) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(contexts[0]) == CUDA_SUCCESS);
    REQUIRE(cuStreamWaitEvent(stream, event, 0) == CUDA_SUCCESS);
    CHECK(cuMemcpyDtoDAsync_v2(here, there, 4, stream) == CUDA_SUCCESS);
  });
  CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
  CHECK(host_copy(here, 1) == Values{5});
}

TEST_CASE("a graph launch completes even if nobody waits") {
  const Simulation simulation{Options{}};
  const CUdeviceptr memory = device_copy({1});
  static std::atomic<bool> called;
  called = false;
  const CUgraphExec graph =
      executable([&](CUstream stream) { CHECK(add_one(memory, stream) == CUDA_SUCCESS); });
  CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(graph) == CUDA_SUCCESS);  // while its launch is in flight
  CHECK(cuStreamAddCallback(
            nullptr, [](CUstream, CUresult, void*) { called = true; }, nullptr, 0) == CUDA_SUCCESS);
  while (!called) std::this_thread::yield();
  CHECK(host_copy(memory, 1) == Values{2});
}

TEST_CASE("a graph does not keep alive the memory and module that it uses") {
  const struct {
    const char* what;
    void (*capture)(CUstream stream, CUdeviceptr memory, void* pinned);
    void (*end)(CUdeviceptr memory, void* pinned, CUmodule module);
  } cases[] = {
      {"memory",
       [](CUstream stream, CUdeviceptr memory, void*) {
         CHECK(cuMemsetD32Async(memory, 0, 1, stream) == CUDA_SUCCESS);
       },
       [](CUdeviceptr memory, void*, CUmodule) { CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS); }},
      {"page-locked memory",
       [](CUstream stream, CUdeviceptr memory, void* pinned) {
         CHECK(cuMemcpyHtoDAsync_v2(memory, pinned, 4, stream) == CUDA_SUCCESS);
       },
       [](CUdeviceptr, void* pinned, CUmodule) { CHECK(cuMemFreeHost(pinned) == CUDA_SUCCESS); }},
      {"a module", [](CUstream, CUdeviceptr, void*) {},
       [](CUdeviceptr, void*, CUmodule module) { CHECK(cuModuleUnload(module) == CUDA_SUCCESS); }},
  };
  for (const auto& [what, more, end] : cases) {
    CAPTURE(what);
    const Simulation simulation;
    CUdeviceptr memory = device_copy({1});
    CUdeviceptr other = device_copy({1});
    unsigned value = 2;
    const Pinned pinned(1);
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    REQUIRE(cuModuleLoadData(&module, kPtx) == CUDA_SUCCESS);
    REQUIRE(cuModuleGetFunction(&function, module, "store") == CUDA_SUCCESS);
    const CUgraphExec graph = executable([&](CUstream stream) {
      CHECK(launch(function, {&other, &value}, stream) == CUDA_SUCCESS);
      more(stream, memory, pinned.data);
    });
    CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
    end(memory, pinned.data, module);
    CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK(simulation.faults("use-after-free") == 1);
    // Destroy calls still work, and return the error.
    CHECK(cuGraphLaunch(graph, nullptr) == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK(cuGraphExecDestroy(graph) == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK(cuGraphExecDestroy(graph) == CUDA_ERROR_INVALID_VALUE);
  }
}

TEST_CASE("freeing page-locked memory during a graph launch is an error") {
  const Simulation simulation;
  const CUdeviceptr memory = allocate(4);
  const Pinned pinned(1);
  const CUgraphExec graph = executable([&](CUstream stream) {
    CHECK(cuMemcpyHtoDAsync_v2(memory, pinned.data, 4, stream) == CUDA_SUCCESS);
  });
  CHECK(cuGraphLaunch(graph, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned.data) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(simulation.faults("freed-in-flight") == 1);
}

TEST_CASE("graph calls refuse invalid arguments") {
  const Simulation simulation;
  const CUgraph graph = capture([](CUstream) {});
  const CUgraphExec made = instantiate(graph);
  CUgraphExec another = nullptr;
  CHECK(cuGraphInstantiate_v2(nullptr, graph, nullptr, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGraphInstantiate_v2(&another, graph, nullptr, nullptr, 1) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(cuGraphInstantiate_v2(&another, graph, nullptr, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(another == nullptr);
  CHECK(cuGraphLaunch(made, nullptr) == CUDA_SUCCESS);
  const CUstream stream = make_stream();
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(made, stream) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuGraphExecDestroy(made) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(made, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(simulation.trace().empty());
  CHECK(cuGraphDestroy(graph) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGraphExecDestroy(made) == CUDA_ERROR_INVALID_VALUE);
  CHECK(simulation.faults("invalid-handle") == 2);
}

TEST_CASE("the end of a context reports graphs as leaks") {
  Simulation simulation;
  const CUgraph graph = capture([](CUstream) {});
  instantiate(graph);
  instantiate(graph);
  simulation.release();
  CHECK(simulation.faults("leak") == 2);
  CHECK(simulation.traced({"1 graph still"}) == 1);
  CHECK(simulation.traced({"2 executable graphs still"}) == 1);
}

}  // namespace
}  // namespace cudasim
