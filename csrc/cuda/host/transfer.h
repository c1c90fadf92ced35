// Copies between JavaScript memory and a device. They go through page-locked memory: the driver may
// use host memory until the work has run, but JavaScript memory may move or be freed. If the two
// sides of a copy have different dtypes, the CPU converts the elements.
#pragma once

#include <cstdint>
#include <vector>

#include "../../op/rms_norm.h"
#include "../runtime/allocation.h"
#include "../runtime/stream.h"

namespace rmsnorm::cuda {

// A range of elements in device memory.
struct DeviceSpan {
  AllocationPtr allocation;
  CUdeviceptr pointer = 0;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;

  std::int64_t bytes() const { return length * element_size(dtype); }
};

// Blocks of page-locked memory that copies use in turn. Belongs to one JavaScript environment's
// thread.
class StagingPool {
 public:
  // Returns a block of at least `bytes` bytes that no work uses. If the pool would exceed
  // kMaxCachedBytes (tuning.h) and `may_wait` is set, waits for the oldest block of the right size.
  // A new block that would exceed kMaxStagingBytes is not cached. Errors: kCuda.
  Status take(Device& device, std::int64_t bytes, bool may_wait, AllocationPtr* block);

  void clear() { blocks_.clear(); }

 private:
  std::vector<AllocationPtr> blocks_;  // the least recently used first
};

// Copies `destination.length` host elements of a dtype to the device. When it returns, the copy is
// enqueued and the host memory may be changed. If `may_wait` is set, it may wait for earlier
// copies, so that a long copy takes no more than kMaxCachedBytes (tuning.h) of page-locked memory.
// Errors: kCuda; kInvalidEnvironment (RMSNORM_NUM_THREADS, RMSNORM_CPU_VARIANT).
Status upload(Stream& stream, StagingPool& pool, const DeviceSpan& destination, const void* source,
              DType dtype, bool may_wait);

// Copies `source.length` device elements to host elements of a dtype. Returns when they are in host
// memory. Errors: as upload, and kInvalidState during a capture.
Status download(Stream& stream, StagingPool& pool, const DeviceSpan& source, void* destination,
                DType dtype);

// A download in two steps. start_download() enqueues copies to chunks of page-locked memory. Call
// unpack() after the stream has completed: it copies the chunks to `length` host elements.
using StagedCopy = std::vector<AllocationPtr>;
Status start_download(Stream& stream, StagingPool& pool, const DeviceSpan& source,
                      StagedCopy* copy);
Status unpack(const StagedCopy& copy, DType from, void* destination, DType to, std::int64_t length);

}  // namespace rmsnorm::cuda
