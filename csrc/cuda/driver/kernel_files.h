// The compiled kernels, which are files next to the addon: cmake/kernels.cmake makes them.
#pragma once

#include <cstddef>
#include <vector>

#include "../../op/status.h"

namespace rmsnorm::cuda {

// Fatbins, one for each file of kernels/, each with machine code and PTX.
using KernelImages = std::vector<std::vector<std::byte>>;

// Reads and checks the kernels of this build of the addon. Errors: kCudaUnavailable, with a message
// that says which file was looked for, where, and what is wrong with it.
Status read_kernels(KernelImages* images);

}  // namespace rmsnorm::cuda
