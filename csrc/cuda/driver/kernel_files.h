// The compiled kernels: files next to the addon, which cmake/kernels.cmake makes.
#pragma once

#include <array>

#include "../../op/status.h"
#include "../kernels/kernel_registry.h"
#include "kernel_image.h"

namespace rmsnorm::cuda {

// One image for each kernels/*.cu, in the order of kKernelFiles (kernel_registry.h).
using KernelImages = std::array<KernelImage, kKernelFileCount>;

// Reads and checks the kernel files of this build of the addon. Errors: kCudaUnavailable; the
// message names the file, the folders that were searched, and what is wrong.
Status read_kernels(KernelImages* images);

}  // namespace rmsnorm::cuda
