// Reads the xz streams in kernel files, which cmake/run_nvcc.cmake writes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// Appends the contents of an xz stream to *contents. False if the stream is damaged or does not
// consist of compressed LZMA2 chunks. Ignores the stream's own checksums, because kernel_files.cc
// has already checked the checksum of the whole file.
[[nodiscard]] bool decode_xz(std::span<const std::byte> stream, std::string* contents);

}  // namespace rmsnorm::cuda
