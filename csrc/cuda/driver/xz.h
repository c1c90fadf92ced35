// Reads the xz streams in files of kernels (cmake/run_nvcc.cmake).
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// Appends the contents of an xz stream to *contents. False if the stream is damaged, or contains
// anything but compressed chunks of LZMA2. The caller checks a checksum of the stream.
[[nodiscard]] bool decode_xz(std::span<const std::byte> stream, std::string* contents);

}  // namespace rmsnorm::cuda
