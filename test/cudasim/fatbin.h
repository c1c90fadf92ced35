// Reads fatbins, nvcc's container of code for several GPUs, and selects the PTX that a driver
// would.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace cudasim {

class ImageError : public std::runtime_error {
 public:
  enum class Kind {
    kInvalid,   // no image, or a damaged one
    kNoBinary,  // nothing in it for this GPU
  };
  ImageError(Kind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
  Kind kind;
};

using Bytes = std::span<const unsigned char>;

// Copies the image at an address that has no length: a fatbin by the length in its header, a text
// up to its NUL. The length in a damaged header may exceed the mapped memory; the copy then ends
// where the mapped memory ends.
std::vector<unsigned char> copy_image(const void* image);

// Selects the PTX for a GPU from an image (a fatbin, or PTX itself): the highest compute capability
// up to `capability`, such as 75. Machine code is skipped. All machine code is assumed to be of
// CUDA 13: an older driver refuses code for its GPU. A driver older than 12.4 refuses zstd. Throws
// ImageError.
std::string select_ptx(Bytes image, int capability, int driver_version = 13000);

}  // namespace cudasim
