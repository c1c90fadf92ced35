// zstd, loaded at run time, since every Linux has the library but few machines have its header.
#pragma once

#include <cstddef>

namespace cudasim {

// Decompresses a whole zstd frame into `to`, which has `capacity` bytes. Returns the number of
// bytes written, or kZstdDamaged if the frame is damaged or does not fit. Throws std::runtime_error
// without the library.
inline constexpr std::size_t kZstdDamaged = static_cast<std::size_t>(-1);
std::size_t decompress_zstd(const void* frame, std::size_t bytes, void* to, std::size_t capacity);

}  // namespace cudasim
