// The compiled kernels: files next to the addon, which cmake/kernels.cmake makes.
#pragma once

#include <array>

#include "../../op/status.h"
#include "../kernels/kernel_registry.h"
#include "kernel_image.h"

namespace rmsnorm::cuda {

// One for each file of kernels/, in the order of the table.
using KernelImages = std::array<KernelImage, kKernelFileCount>;

// Reads and checks the kernels of this build of the addon. Errors: kCudaUnavailable; the message
// names the file, the folders that were searched, and what is wrong.
Status read_kernels(KernelImages* images);

}  // namespace rmsnorm::cuda
