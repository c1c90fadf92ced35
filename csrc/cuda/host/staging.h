// Calls over host arrays: rows are uploaded, and results downloaded, in chunks. Each chunk uses a
// slot: a stream with staging memory on the host and on the device. So one chunk uploads while
// another computes and a third downloads. Host staging memory is page-locked, because copies
// between the device and other host memory are not asynchronous.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../driver/device.h"

namespace rmsnorm::cuda {

// A host matrix, or a vector as a matrix of one row, and its offset on the device, where its rows
// are contiguous. Row r on the host begins at byte row_offset(array, r) (rms_norm.h).
struct StagedArray {
  const void* source = nullptr;  // row 0 on the host, to upload from; null if not uploaded
  void* destination = nullptr;   // row 0 on the host, to download to; null if not downloaded
  std::int64_t row_bytes = 0;
  std::int64_t row_stride = 0;  // bytes
  std::int64_t batch_rows = kOneBatch;
  std::int64_t batch_stride = 0;  // bytes
  std::int64_t offset = 0;        // bytes from the beginning of the Layout

  bool is_used() const { return source != nullptr || destination != nullptr; }
};

// Offsets of arrays that follow each other in memory.
class Layout {
 public:
  static constexpr std::int64_t kAlignment = 256;  // bytes; the driver aligns allocations likewise

  // Adds `bytes` bytes and returns their offset.
  std::int64_t add(std::int64_t bytes) {
    const std::int64_t offset = bytes_;
    bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::int64_t bytes_ = 0;
};

// What a chunk's work gets: its rows, its memory and its stream. StagedCall::after_chunks gets all
// rows and no chunk memory.
struct Chunk {
  std::int64_t first_row;
  std::int64_t rows;
  CUdeviceptr call_memory;   // device memory of the whole call
  CUdeviceptr chunk_memory;  // device memory of this chunk; 0 for after_chunks
  CUstream stream;
};

struct StagedCall {
  std::int64_t rows = 0;
  std::int64_t chunk_rows = 0;              // rows of each chunk; the last may have fewer
  std::array<StagedArray, 2> call_arrays;   // one row each, on the device for the whole call
  std::array<StagedArray, 7> chunk_arrays;  // `rows` rows each, cut into chunks
  Layout call_layout;   // device memory of the call: its arrays and partial rows
  Layout chunk_layout;  // device memory of a chunk: its arrays and workspace
  std::function<Status(const Chunk&)> launch;        // enqueues the work of a chunk
  std::function<Status(const Chunk&)> after_chunks;  // enqueues the last work; may be empty
};

// Approximate bytes of host arrays in a chunk: RMSNORM_CUDA_CHUNK_BYTES if it is set, else
// kChunkBytes (tuning.h). kInvalidEnvironment if the variable is not a whole number of at least 1.
Status chunk_bytes(std::int64_t* bytes);

// Runs a call on a device and returns when its results are in host memory. Calls on one device run
// one after another, because they share the device's memory and bus. After an error no work of the
// call is in flight, no memory is cached, and some results may be written.
//
// Errors: kCuda; kInvalidEnvironment for RMSNORM_NUM_THREADS, because several threads copy the
// rows.
Status run_staged(Device& device, const StagedCall& call);

// Frees the memory that is cached for the next call on every device, except where a call is
// running. Call it when the last JavaScript environment ends.
void release_staging();

}  // namespace rmsnorm::cuda
