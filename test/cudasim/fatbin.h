// The container that nvcc puts code for several GPUs in, and which of its PTX a driver would take.
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

// The image at an address that came without a length: a fatbin by the length in its header, else a
// text up to its NUL. What the header of a damaged image claims may not be there: the memory is
// read in a way that can fail, and the copy ends where the memory does.
std::vector<unsigned char> copy_image(const void* image);

// The PTX in an image (a fatbin, or PTX itself) for a GPU of this compute capability, such as 75:
// the highest there is up to it. Machine code is passed over. A driver older than CUDA 13, from
// which all machine code is taken to be, refuses code for its GPU; one older than 12.4 refuses
// what zstd has compressed. Throws ImageError.
std::string select_ptx(Bytes image, int capability, int driver_version = 13000);

}  // namespace cudasim
