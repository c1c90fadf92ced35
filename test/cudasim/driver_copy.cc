// Copies and fills.
#include <cstring>

#include "driver.h"

namespace cudasim {
namespace {

// If launches are dropped (CUDASIM_EXECUTE=0), memory stays unwritten, and reading it is no fault.
template <class Read>
void read_or(const Driver& driver, const Read& read, const std::function<void()>& otherwise) {
  try {
    read();
  } catch (const Fault& fault) {
    if (driver.options.execute || fault.kind != "uninitialised") throw;
    otherwise();
  }
}

// The host side of a copy. A range that begins in a page-locked block must end in it.
struct HostRange {
  PinnedPtr block;  // null: pageable
  bool valid = true;
};

HostRange host_range(const Driver& driver, const void* data, std::size_t bytes) {
  HostRange range;
  range.block = driver.pinned.find(data);
  range.valid = data != nullptr && (range.block == nullptr || holds(*range.block, data, bytes));
  return range;
}

// Queues `work`, which runs unless a fault has stopped the stream's context. `block` is the
// page-locked memory that it uses, if any. Queued work keeps the block alive; a graph does not.
template <class Work>
CUresult queue_copy(Driver& driver, const StreamState& stream, Work work,
                    const PinnedPtr& block = nullptr) {
  const auto make = [context = stream.context, work = std::move(work), used = std::weak_ptr(block),
                     uses = block != nullptr] {
    return Scheduler::Work([context, work, block = used.lock(), uses] {
      context->run([&] {
        if (uses && block == nullptr) {
          throw Fault("use-after-free", "a graph copies page-locked memory that was freed");
        }
        work();
      });
    });
  };
  return driver.queue(stream, make);
}

// A capture refuses pageable memory, which a graph cannot rely on.
std::optional<CUresult> refuse_capture(Driver& driver, const StreamState& stream,
                                       const HostRange& range) {
  return range.block == nullptr ? driver.captures.refuse(stream) : std::nullopt;
}

template <class Element>
CUresult fill(Call call, CUdeviceptr destination, Element value, std::size_t count,
              CUstream stream_handle) {
  return call_context(call, [&](Driver& driver, const ContextPtr& current) -> CUresult {
    const StreamState stream = driver.find_stream(stream_handle, current);
    if (stream.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (count == 0) return CUDA_SUCCESS;
    if (destination % sizeof value != 0 || count > SIZE_MAX / sizeof value) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const ContextPtr owner = driver.owner_of(destination, count * sizeof value, current);
    if (owner == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return queue_copy(driver, stream, [owner, destination, value, count] {
      owner->with_memory([&](DeviceMemory& memory) { memory.fill(destination, value, count); });
    });
  });
}

}  // namespace

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void* source, std::size_t bytes,
                              CUstream stream_handle) {
  return call_context(
      Call::cuMemcpyHtoDAsync_v2, [&](Driver& driver, const ContextPtr& current) -> CUresult {
        const StreamState stream = driver.find_stream(stream_handle, current);
        if (stream.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
        if (bytes == 0) return CUDA_SUCCESS;
        const ContextPtr owner = driver.owner_of(destination, bytes, current);
        const HostRange from = host_range(driver, source, bytes);
        if (owner == nullptr || !from.valid) return CUDA_ERROR_INVALID_VALUE;
        if (const auto refused = refuse_capture(driver, stream, from)) return *refused;
        // The copy reads page-locked memory when it runs, so that an early change of it shows. The
        // call stages pageable memory.
        std::shared_ptr<std::vector<unsigned char>> staged;
        if (from.block == nullptr) {
          staged = std::make_shared<std::vector<unsigned char>>(
              static_cast<const unsigned char*>(source),
              static_cast<const unsigned char*>(source) + bytes);
          source = staged->data();
        }
        const auto copy = [owner, destination, source, bytes, staged] {
          owner->with_memory(
              [&](DeviceMemory& memory) { memory.write(destination, source, bytes); });
        };
        return queue_copy(driver, stream, copy, from.block);
      });
}

CUresult cuMemcpyDtoHAsync_v2(void* destination, CUdeviceptr source, std::size_t bytes,
                              CUstream stream_handle) {
  return call_context(Call::cuMemcpyDtoHAsync_v2,
                      [&](Driver& driver, const ContextPtr& current) -> CUresult {
                        const StreamState stream = driver.find_stream(stream_handle, current);
                        if (stream.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
                        if (bytes == 0) return CUDA_SUCCESS;
                        const ContextPtr owner = driver.owner_of(source, bytes, current);
                        const HostRange to = host_range(driver, destination, bytes);
                        if (owner == nullptr || !to.valid) return CUDA_ERROR_INVALID_VALUE;
                        if (const auto refused = refuse_capture(driver, stream, to))
                          return *refused;
                        // Even pageable memory is written when the copy runs: a real driver "might"
                        // wait, but callers must not rely on it.
                        const auto copy = [&driver, owner, destination, source, bytes] {
                          owner->with_memory([&](DeviceMemory& memory) {
                            read_or(
                                driver, [&] { memory.read(source, destination, bytes); },
                                [&] { std::memset(destination, 0, bytes); });
                          });
                        };
                        return queue_copy(driver, stream, copy, to.block);
                      });
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr destination, CUdeviceptr source, std::size_t bytes,
                              CUstream stream_handle) {
  return call_context(
      Call::cuMemcpyDtoDAsync_v2, [&](Driver& driver, const ContextPtr& current) -> CUresult {
        const StreamState stream = driver.find_stream(stream_handle, current);
        if (stream.context == nullptr) return CUDA_ERROR_INVALID_HANDLE;
        if (bytes == 0) return CUDA_SUCCESS;
        const ContextPtr to = driver.owner_of(destination, bytes, current);
        const ContextPtr from = driver.owner_of(source, bytes, current);
        if (to == nullptr || from == nullptr) return CUDA_ERROR_INVALID_VALUE;
        return queue_copy(driver, stream, [&driver, to, from, destination, source, bytes] {
          const auto copy = [&] {
            if (to == from) {
              to->with_memory(
                  [&](DeviceMemory& memory) { memory.copy(destination, source, bytes); });
              return;
            }
            std::vector<unsigned char> staged(bytes);
            from->with_memory(
                [&](DeviceMemory& memory) { memory.read(source, staged.data(), bytes); });
            to->with_memory(
                [&](DeviceMemory& memory) { memory.write(destination, staged.data(), bytes); });
          };
          read_or(driver, copy, [] {});
        });
      });
}

CUresult cuMemsetD8Async(CUdeviceptr destination, unsigned char value, std::size_t count,
                         CUstream stream) {
  return fill(Call::cuMemsetD8Async, destination, value, count, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr destination, unsigned short value, std::size_t count,
                          CUstream stream) {
  return fill(Call::cuMemsetD16Async, destination, value, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr destination, unsigned value, std::size_t count,
                          CUstream stream) {
  return fill(Call::cuMemsetD32Async, destination, value, count, stream);
}

}  // namespace cudasim
