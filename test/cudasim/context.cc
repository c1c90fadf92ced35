#include "context.h"

#include <iterator>

namespace cudasim {

CUresult error_of(const Fault& fault) {
  if (fault.kind == "out-of-bounds" || fault.kind == "use-after-free" ||
      fault.kind == "freed-in-flight") {
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  }
  if (fault.kind == "misaligned") return CUDA_ERROR_MISALIGNED_ADDRESS;
  if (fault.kind == "too-much-shared" || fault.kind == "too-many-threads") {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  return CUDA_ERROR_LAUNCH_FAILED;
}

Context::Context(int device, const DeviceModel& model, Scheduler& scheduler, Trace& trace)
    : device(device),
      model(model),
      engine(scheduler.add_engine()),
      legacy_stream(scheduler.legacy_stream(engine)),
      trace_(trace),
      memory_(model.memory_bytes) {}

void Context::fail(const Fault& fault) {
  trace_.fault(device, fault.kind, fault.what());
  CUresult none = CUDA_SUCCESS;
  error_.compare_exchange_strong(none, error_of(fault));  // only the first error is stored
}

CUdeviceptr Context::allocate(std::size_t bytes) {
  const CUdeviceptr address =
      with_memory([&](DeviceMemory& memory) { return memory.allocate(bytes); });
  if (address != 0) {
    const std::lock_guard lock(allocations_mutex_);
    allocations_.emplace(address, bytes);
  }
  return address;
}

bool Context::free(CUdeviceptr address) {
  {
    const std::lock_guard lock(allocations_mutex_);
    if (allocations_.erase(address) == 0) return false;
  }
  with_memory([&](DeviceMemory& memory) { memory.free(address); });
  return true;
}

std::optional<Context::Range> Context::find(CUdeviceptr address, std::size_t bytes) const {
  const std::lock_guard lock(allocations_mutex_);
  const auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return std::nullopt;
  const auto& [start, size] = *std::prev(after);
  if (address - start >= size || bytes > size - (address - start)) return std::nullopt;
  return Range{start, size};
}

std::map<CUdeviceptr, std::size_t> Context::allocations() const {
  const std::lock_guard lock(allocations_mutex_);
  return allocations_;
}

}  // namespace cudasim
