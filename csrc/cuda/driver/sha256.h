// SHA-256 (FIPS 180-4), for kernel_files.cc, which checks the checksums of kernel files.
// cmake/run_nvcc.cmake and bench/environment/kernel-file.ts write these checksums. They use the
// SHA-256 of CMake and of Node.js.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// The hash of the bytes, as 64 lowercase hexadecimal digits.
std::string sha256(std::span<const std::byte> bytes);

}  // namespace rmsnorm::cuda
