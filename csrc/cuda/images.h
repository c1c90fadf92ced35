// The compiled kernels in this build: cmake/kernels.cmake puts them here.
#pragma once

// Fatbins, one for each file of kernels/, each with machine code and PTX; a null after the last.
// Only the null if neither nvcc nor finished fatbins were there when the addon was built.
extern "C" __attribute__((visibility("hidden"))) const void* const rmsnorm_cuda_images[];
