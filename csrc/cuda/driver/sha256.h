// SHA-256 (FIPS 180-4). CMake and Node.js have it, too: cmake/run_nvcc.cmake and
// bench/environment/fatbin.ts write the hashes that kernel_files.cc checks.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rmsnorm::cuda {

// The hash of the bytes, as 64 lowercase hexadecimal digits.
std::string sha256(std::span<const std::byte> bytes);

}  // namespace rmsnorm::cuda
