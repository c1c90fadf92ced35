// Reads the xz streams in files of kernels (cmake/run_nvcc.cmake).
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// Appends the contents of an xz stream to *contents. False if the stream is damaged or does not
// consist of compressed LZMA2 chunks. Ignores the checksums of xz: the caller checks one of its
// own.
[[nodiscard]] bool decode_xz(std::span<const std::byte> stream, std::string* contents);

}  // namespace rmsnorm::cuda
