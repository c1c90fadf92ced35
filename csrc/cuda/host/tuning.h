// How copies between host and device are cut into chunks, and how much memory they cache. `derived`
// is arithmetic on PCIe and on the cost of driver calls. No number has been timed on hardware.
#pragma once

#include <cstdint>

namespace rmsnorm::cuda {

// Bytes of a chunk. derived: 4 MiB take 80 to 160 µs over PCIe 5 or 4 (16 lanes), ten times the
// cost of enqueuing their copies and launch. The first chunk's upload and the last chunk's
// download, which nothing overlaps, stay short.
inline constexpr std::int64_t kChunkBytes = 4 << 20;

// derived: one chunk uploads, one computes, one downloads.
inline constexpr int kChunksInFlight = 3;

// Bytes of page-locked memory, and of device memory, that are cached for the next call over host
// arrays. Also the page-locked bytes of a copy that may wait for its earlier chunks.
// derived: three chunks with room for their results and partial sums.
inline constexpr std::int64_t kMaxCachedBytes = 64 << 20;

// Bytes of page-locked memory that a JavaScript thread caches for copies. derived: a copy of 128
// MiB in either direction, whose chunks cannot wait for each other, pins nothing from its second
// time on.
inline constexpr std::int64_t kMaxStagingBytes = 256 << 20;

// Bytes of the smallest block of page-locked memory. derived: a page.
inline constexpr std::int64_t kMinBlockBytes = 4 << 10;

}  // namespace rmsnorm::cuda
