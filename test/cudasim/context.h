// A device's primary context, its memory and its error.
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

  // The error of the first kernel or copy that failed. As on a GPU, every later call returns it,
  // and queued work no longer runs.
  CUresult error() const { return error_.load(); }
  void fail(const Fault& fault);

  // Runs queued work, unless the context has failed. A fault makes the context fail.
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

  CUdeviceptr allocate(std::size_t bytes);  // 0: not enough memory
  bool free(CUdeviceptr address);           // false: no live allocation begins there
  // The live allocation that holds all the bytes: its start and its size.
  using Range = std::pair<CUdeviceptr, std::size_t>;
  std::optional<Range> find(CUdeviceptr address, std::size_t bytes) const;
  std::map<CUdeviceptr, std::size_t> allocations() const;

  // Calls body(DeviceMemory&) with exclusive access to the memory.
  template <class Body>
  auto with_memory(const Body& body) {
    const std::lock_guard lock(memory_mutex_);
    return body(memory_);
  }

 private:
  Trace& trace_;
  std::atomic<CUresult> error_{CUDA_SUCCESS};
  mutable std::mutex memory_mutex_;  // held while a kernel runs
  DeviceMemory memory_;
  // A list of its own, so that queueing work never waits for a kernel to release memory_mutex_.
  mutable std::mutex allocations_mutex_;
  std::map<CUdeviceptr, std::size_t> allocations_;
};

using ContextPtr = std::shared_ptr<Context>;

// The error that a GPU would report for the fault if it detected it.
CUresult error_of(const Fault& fault);

}  // namespace cudasim
