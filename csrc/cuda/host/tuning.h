// How copies between host and device are cut into chunks, and how much memory they cache. `derived`
// marks a number computed from PCIe's speed and the cost of driver calls. No number has been timed
// on hardware.
#pragma once

#include <cstdint>

namespace rmsnorm::cuda {

// Bytes of a chunk. derived: 4 MiB take 80 µs over PCIe 5 (16 lanes), or 160 µs over PCIe 4. That
// is about ten times the cost of enqueuing a chunk's copies and launch. The first chunk's upload
// and the last chunk's download, which nothing overlaps, stay short.
inline constexpr std::int64_t kChunkBytes = 4 << 20;

// Chunks that are on the device at once. derived: one chunk uploads, one computes, one downloads.
inline constexpr int kChunksInFlight = 3;

// The most bytes of page-locked memory, and of device memory, that are cached for the next call
// over host arrays. Also the most page-locked bytes of a copy that may wait for its earlier chunks.
// derived: three chunks with room for their results and partial sums.
inline constexpr std::int64_t kMaxCachedBytes = 64 << 20;

// The most bytes of page-locked memory that a JavaScript thread caches for copies. derived: a copy
// of 128 MiB whose chunks cannot wait for each other, in either direction, page-locks no new memory
// when it is repeated.
inline constexpr std::int64_t kMaxStagingBytes = 256 << 20;

// Bytes of the smallest block of page-locked memory. derived: a page of memory.
inline constexpr std::int64_t kMinBlockBytes = 4 << 10;

}  // namespace rmsnorm::cuda
