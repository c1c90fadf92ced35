// How copies between the host and a device are cut into chunks, and how much memory they cache.
// Where a number comes from: `derived` is arithmetic on PCIe and on what calls of the driver cost.
// None has been timed on hardware.
#pragma once

#include <cstdint>

namespace rmsnorm::cuda {

// Bytes of a chunk. derived: 4 MiB take 80 to 160 µs over PCIe 5 or 4 (16 lanes), ten times what
// enqueuing their copies and launch costs; and the upload of the first chunk and the download of
// the last, which nothing overlaps, stay short.
inline constexpr std::int64_t kChunkBytes = 4 << 20;

// derived: one chunk uploads, one computes, one downloads.
inline constexpr int kChunksInFlight = 3;

// Page-locked memory, and as much of a device, that is cached for the next call over host arrays;
// and page-locked memory that a copy takes which may wait for its earlier chunks.
// derived: three chunks with room for their results and partial sums.
inline constexpr std::int64_t kMaxCachedBytes = 64 << 20;

// Page-locked memory that a thread of JavaScript caches for copies. derived: a copy of 128 MiB in
// either direction, none of which can wait for another, pins nothing from its second time on.
inline constexpr std::int64_t kMaxStagingBytes = 256 << 20;

// The smallest block of page-locked memory. derived: a page.
inline constexpr std::int64_t kMinBlockBytes = 4 << 10;

}  // namespace rmsnorm::cuda
