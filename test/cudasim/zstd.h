// zstd, opened at run time: every Linux has the library, few machines its header.
#pragma once

#include <cstddef>

namespace cudasim {

// Decompresses a whole zstd frame. Returns the bytes written to `to`, which has room for
// `capacity`; kZstdDamaged for anything but a frame that fits. Throws std::runtime_error without
// the library.
inline constexpr std::size_t kZstdDamaged = static_cast<std::size_t>(-1);
std::size_t decompress_zstd(const void* frame, std::size_t bytes, void* to, std::size_t capacity);

}  // namespace cudasim
