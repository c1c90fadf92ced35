// The compiled kernels, which are files next to the addon: cmake/kernels.cmake makes them.
#pragma once

#include <array>

#include "../../op/status.h"
#include "../kernels/kernel_registry.h"
#include "kernel_image.h"

namespace rmsnorm::cuda {

// One for each file of kernels/, in the order of the table.
using KernelImages = std::array<KernelImage, kKernelFileCount>;

// Reads and checks the kernels of this build of the addon. Errors: kCudaUnavailable, with a message
// that says which file was looked for, where, and what is wrong with it.
Status read_kernels(KernelImages* images);

}  // namespace rmsnorm::cuda
