// Copies between memory of JavaScript's and a device. They go through page-locked memory: the
// driver may use what it is given for as long as work is in flight, and JavaScript's memory may
// move or go away. What changes the dtype is converted on the way.
#pragma once

#include <cstdint>
#include <vector>

#include "../../op/rms_norm.h"
#include "../runtime/allocation.h"
#include "../runtime/stream.h"

namespace rmsnorm::cuda {

// Elements of a device's memory.
struct DeviceSpan {
  AllocationPtr allocation;
  CUdeviceptr pointer = 0;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;

  std::int64_t bytes() const { return length * element_size(dtype); }
};

// Blocks of page-locked memory that copies take in turns. Belongs to one environment's thread.
class StagingPool {
 public:
  // A block that no work uses. Where there would be too many, waits for the oldest, or, if it may
  // not wait, makes one that is not cached. Errors: kCuda.
  Status take(Device& device, std::int64_t bytes, bool may_wait, AllocationPtr* block);

  // Releases all blocks.
  void clear() { blocks_.clear(); }

 private:
  std::vector<AllocationPtr> blocks_;  // the longest unused first
};

// Copies `destination.length` elements of the host, of a dtype, to the device. When it returns the
// host's may be changed, and the copy is enqueued. `may_wait`: for earlier copies, so that a long
// one takes no more than kMaxCachedBytes (tuning.h) of page-locked memory. Errors: kCuda;
// kInvalidEnvironment (RMSNORM_NUM_THREADS, RMSNORM_CPU_VARIANT).
Status upload(Stream& stream, StagingPool& pool, const DeviceSpan& destination, const void* source,
              DType dtype, bool may_wait);

// The other way; returns when the host's elements are there. Errors: as upload, and kInvalidState
// during a capture.
Status download(Stream& stream, StagingPool& pool, const DeviceSpan& source, void* destination,
                DType dtype);

// The same, when the stream has passed: a copy in chunks of page-locked memory, to be unpacked
// then.
using StagedCopy = std::vector<AllocationPtr>;
Status start_download(Stream& stream, StagingPool& pool, const DeviceSpan& source,
                      StagedCopy* copy);
Status unpack(const StagedCopy& copy, DType from, void* destination, DType to, std::int64_t length);

}  // namespace rmsnorm::cuda
