// Reads the xz files that cmake/ptx.cmake makes: PTX is a tenth of its size in them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// Appends the contents of an xz stream to *text. False where the stream is damaged, or has
// something else in it than compressed chunks of LZMA2. Checksums are left to the caller.
[[nodiscard]] bool decode_xz(std::span<const std::byte> stream, std::string* text);

}  // namespace rmsnorm::cuda
