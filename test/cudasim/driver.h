// The driver's state, and the checks that begin each of its functions. The functions are in
// driver_*.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "capture.h"
#include "context.h"
#include "errors.h"
#include "handles.h"
#include "options.h"
#include "pinned.h"
#include "scheduler.h"
#include "trace.h"

// Declares the driver functions from the addon's own list, so that a definition with another
// signature does not compile.
#define CUDASIM_DECLARE(name, parameters) \
  extern "C" __attribute__((visibility("default"))) rmsnorm::cuda::CUresult name parameters;
namespace cudasim {
RMSNORM_DRIVER_FUNCTIONS(CUDASIM_DECLARE)
}
#undef CUDASIM_DECLARE

namespace cudasim {

// The last record of an event: a point in a stream's order, or in a capture. Neither before the
// first record.
struct EventRecord {
  Scheduler::FencePtr fence;
  std::optional<CapturedPoint> captured;
};

struct EventState {
  ContextPtr context;
  bool timing = true;
  EventRecord last() const {
    const std::lock_guard lock(mutex);
    return record;
  }
  mutable std::mutex mutex;
  EventRecord record;
};

// Each node comes after all nodes that it depends on.
struct GraphState {
  ContextPtr context;  // of the capture
  std::shared_ptr<const GraphNodes> nodes;
};

struct GraphExecState {
  ContextPtr context;
  std::shared_ptr<const GraphNodes> nodes;
  std::mutex mutex;
  Scheduler::FencePtr last;  // the end of the last launch
};

struct ModuleState {
  ContextPtr context;
  std::unique_ptr<Module> module;
  std::mutex mutex;
  std::map<std::string, CUfunction> functions;
};

struct FunctionState {
  std::shared_ptr<ModuleState> module;
  const Kernel* kernel = nullptr;
  int max_dynamic_shared_bytes() const { return dynamic_shared_bytes.load(); }
  std::atomic<int> dynamic_shared_bytes{0};
};

class Driver {
 public:
  // The first call makes it from the environment. It is never destroyed: its thread may outlive
  // main().
  static Driver& instance();
  // For tests: replaces the driver, as in a new process. No thread may be in a call.
  static void restart(const Options& options);

  explicit Driver(const Options& options);

  const Options options;
  Trace trace;
  Trace call_counts;
  std::atomic<bool> initialised{false};
  std::atomic<bool> shut_down{false};  // the process ends, and calls do nothing

  Handles<CUstream, StreamState> streams{0x51};
  Handles<CUevent, EventState> events{0x52};
  Handles<CUmodule, ModuleState> modules{0x53};
  Handles<CUfunction, FunctionState> functions{0x54};
  Handles<CUgraph, GraphState> graphs{0x55};
  Handles<CUgraphExec, GraphExecState> executables{0x56};
  Captures captures;
  PinnedMemory pinned;
  Scheduler scheduler;  // the last member, so that its thread ends before the others are destroyed

  // Counts the call. Returns the error that CUDASIM_FAIL sets for it, if any.
  std::optional<CUresult> injected(Call call);

  // Writes the number of calls of each function to CUDASIM_CALLS, if set.
  void report_calls();

  bool is_device(CUdevice device) const;
  ContextPtr retain(CUdevice device);
  bool release(CUdevice device);  // false: it was not retained
  static CUcontext handle_of(CUdevice device);
  std::optional<CUdevice> device_of(CUcontext context) const;
  ContextPtr active(CUdevice device) const;  // null: it is not retained

  // The stream of a handle. `current` is the calling thread's context.
  StreamState find_stream(CUstream handle, const ContextPtr& current) const;
  // The context whose device memory holds the bytes, or null. Tries `current` first.
  ContextPtr owner_of(CUdeviceptr address, std::size_t bytes, const ContextPtr& current) const;

  // Queues the work that make() returns. If the stream captures, adds a graph node instead, which
  // calls make() for each launch of the graph.
  template <class Make>
  CUresult queue(const StreamState& stream, const Make& make) {
    if (captures.concern(stream)) return captures.add(stream, make);
    scheduler.run_on_engine(stream.stream, make());
    return CUDA_SUCCESS;
  }

  std::uint64_t next_launch_seed();
  // Reports an error of the caller like a fault, since the caller may ignore the returned error.
  void misuse(int device, const std::string& kind, const std::string& message);
  void unknown_handle(int device, const char* call);

 private:
  struct Primary {
    ContextPtr context;
    int retains = 0;
  };
  void end(const ContextPtr& context);

  mutable std::mutex primaries_mutex_;
  std::vector<Primary> primaries_;  // one for each device
  std::array<std::atomic<std::int64_t>, std::size(kCallNames)> calls_{};
  std::atomic<std::int64_t> calls_that_may_fail_{0};
  std::atomic<std::uint64_t> launches_{0};
};

// The calling thread's current context.
CUcontext& current_context();

// The checks that begin every driver function. body(Driver&) returns a CUresult.
template <class Body>
CUresult call_driver(Call call, const Body& body) {
  try {
    Driver& driver = Driver::instance();
    if (driver.shut_down) return CUDA_ERROR_DEINITIALIZED;
    if (Scheduler::in_host_function()) {
      driver.misuse(
          -1, "call-in-callback",
          std::string(kCallNames[static_cast<int>(call)]) + " called from a stream's callback");
      return CUDA_ERROR_NOT_PERMITTED;
    }
    if (const std::optional<CUresult> error = driver.injected(call)) return *error;
    const bool before_init = call == Call::cuInit || call == Call::cuDriverGetVersion;
    if (!before_init && !driver.initialised) return CUDA_ERROR_NOT_INITIALIZED;
    return body(driver);
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "cudasim: %s: %s\n", kCallNames[static_cast<int>(call)], exception.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

// The same for functions that need a current context: body(Driver&, const ContextPtr&). Returns the
// error of a context that has failed. With kTakeDown, for functions that destroy or free something,
// the body runs before that error is returned.
enum class IfFailed { kRefuse, kTakeDown };
template <class Body>
CUresult call_context(Call call, const Body& body, IfFailed if_failed = IfFailed::kRefuse) {
  return call_driver(call, [&](Driver& driver) -> CUresult {
    const std::optional<CUdevice> device = driver.device_of(current_context());
    if (!device) return CUDA_ERROR_INVALID_CONTEXT;
    const ContextPtr context = driver.active(*device);
    if (context == nullptr) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (if_failed == IfFailed::kRefuse && context->error() != CUDA_SUCCESS) {
      return context->error();
    }
    if (is_unsafe_beside_captures(call)) {
      if (const CUresult unsafe = driver.captures.refuse_unsafe(); unsafe != CUDA_SUCCESS) {
        return unsafe;
      }
    }
    const CUresult result = body(driver, context);
    if (if_failed == IfFailed::kTakeDown && result == CUDA_SUCCESS) return context->error();
    return result;
  });
}

}  // namespace cudasim
