// Calls over host arrays: their rows go to the device, and the results come back, in chunks. Each
// chunk has a slot, which is a stream with memory on both sides, so that one chunk uploads while
// another computes and a third downloads. Memory between is page-locked: from other memory the
// driver copies while the caller waits.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../driver/device.h"

namespace rmsnorm::cuda {

// A matrix of the host, or a vector as a matrix of one row, and where it lies on the device,
// packed. Row r of the host's begins at byte row_offset(array, r) (rms_norm.h).
struct StagedArray {
  const void* source = nullptr;  // row 0 of what is uploaded, or null
  void* destination = nullptr;   // row 0 of where it is downloaded to, or null
  std::int64_t row_bytes = 0;
  std::int64_t row_stride = 0;  // bytes
  std::int64_t batch_rows = kOneBatch;
  std::int64_t batch_stride = 0;  // bytes
  std::int64_t offset = 0;        // bytes from the beginning of the memory it is in

  bool is_used() const { return source != nullptr || destination != nullptr; }
};

// What lies in memory, one behind another.
class Layout {
 public:
  static constexpr std::int64_t kAlignment = 256;  // as of memory of the driver's

  // Returns the offset of the next `bytes`.
  std::int64_t add(std::int64_t bytes) {
    const std::int64_t offset = bytes_;
    bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::int64_t bytes_ = 0;
};

// A chunk of the rows, or all of them at the end of the call.
struct Chunk {
  std::int64_t first_row;
  std::int64_t rows;
  CUdeviceptr whole_memory;  // of the whole call
  CUdeviceptr memory;        // of this chunk; 0 at the end of the call
  CUstream stream;
};

struct StagedCall {
  std::int64_t rows = 0;
  std::int64_t chunk_rows = 0;         // of each chunk but the last
  std::array<StagedArray, 2> whole;    // of one row each; there for all of the call
  std::array<StagedArray, 7> chunked;  // of `rows` rows each
  Layout whole_layout;  // device memory of the call: its arrays and what else it needs
  Layout chunk_layout;  // the same of a chunk
  std::function<Status(const Chunk&)> launch;  // enqueues the work of a chunk
  std::function<Status(const Chunk&)> finish;  // enqueues what follows all chunks; may be empty
};

// Bytes of host arrays in a chunk, roughly: RMSNORM_CUDA_CHUNK_BYTES, else kChunkBytes of tuning.h.
// kInvalidEnvironment if the variable is no whole number from 1 up.
Status chunk_bytes(std::int64_t* bytes);

// Runs a call on a device and returns when its results are in the host's memory. Calls on the same
// device wait for each other: they share its memory, and its bus. If it fails, nothing of the call
// is in flight any more when it returns, no memory is cached, and some results may be written.
//
// Errors: kCuda; kInvalidEnvironment of RMSNORM_NUM_THREADS, since threads share in copying.
Status run_staged(Device& device, const StagedCall& call);

// Frees what is cached for the next call on every device. For when the last who could call has
// left.
void release_staging();

}  // namespace rmsnorm::cuda
