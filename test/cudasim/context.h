// A device's primary context and what lives in it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "errors.h"
#include "machine.h"
#include "scheduler.h"
#include "trace.h"

namespace cudasim {

class Context {
 public:
  Context(int device, const DeviceModel& model, Scheduler& scheduler, Trace& trace);

  const int device;
  const DeviceModel model;
  const Scheduler::EnginePtr engine;
  const Scheduler::StreamPtr legacy_stream;

  // What an earlier kernel or copy did wrong: every later call returns it, and nothing runs any
  // more, as on a GPU.
  CUresult error() const { return error_.load(); }
  void fail(const Fault& fault);

  // Runs queued work, unless the context has failed; a fault makes it fail.
  template <class Body>
  void run(const Body& body) {
    if (error() != CUDA_SUCCESS) return;
    try {
      body();
    } catch (const Fault& fault) {
      fail(fault);
    } catch (const std::exception& exception) {
      fail(Fault("internal", exception.what()));
    }
  }

  CUdeviceptr allocate(std::size_t bytes);  // 0: not enough left
  bool free(CUdeviceptr address);           // false: not the start of a live allocation
  // The live allocation, begin and bytes, that all the bytes lie in.
  using Range = std::pair<CUdeviceptr, std::size_t>;
  std::optional<Range> find(CUdeviceptr address, std::size_t bytes) const;
  std::map<CUdeviceptr, std::size_t> allocations() const;

  // Calls body(DeviceMemory&) while nobody else is at the memory.
  template <class Body>
  auto with_memory(const Body& body) {
    const std::lock_guard lock(memory_mutex_);
    return body(memory_);
  }

 private:
  Trace& trace_;
  std::atomic<CUresult> error_{CUDA_SUCCESS};
  mutable std::mutex memory_mutex_;  // held as long as a kernel runs
  DeviceMemory memory_;
  // Beside the memory, so that queueing work never waits for a kernel.
  mutable std::mutex allocations_mutex_;
  std::map<CUdeviceptr, std::size_t> allocations_;
};

using ContextPtr = std::shared_ptr<Context>;

// What a GPU would have reported for a checker's finding, where it would have noticed.
CUresult error_of(const Fault& fault);

}  // namespace cudasim
