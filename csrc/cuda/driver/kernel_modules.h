// The loaded kernels of a device. A kernel file is loaded when one of its kernels is first needed.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>

#include "../../op/status.h"
#include "../kernels/kernel_registry.h"
#include "driver_api.h"
#include "kernel_files.h"

namespace rmsnorm::cuda {

struct DeviceProperties;

// Call all members except loaded_image() within a DeviceScope of the device.
class KernelModules {
 public:
  KernelModules(const KernelImages& images, const DeviceProperties& device)
      : images_(images), device_(device) {}

  // Finds the kernel of an entry; its launches may use all the shared memory that a block can have.
  // The kernel stays valid until unload(). Once a kernel has been found, no call for it takes a
  // lock. The first call for a kernel of a file loads the file. Loading takes seconds if the driver
  // has to compile PTX; the driver caches the result on disk. Errors: kCuda.
  Status find(const KernelEntry& entry, CUfunction* kernel);

  Status load_all();
  void unload() noexcept;

  // What the kernels of a file were loaded from: "machine code", or for PTX its architecture, such
  // as "compute_80". Empty if the file is not loaded.
  std::string loaded_image(std::size_t file) const;

 private:
  struct File {
    CUmodule module = nullptr;
    int ptx = 0;  // compute capability of the PTX, such as 80; 0 for machine code
  };

  Status load_file(std::size_t file);
  CUresult load_code_or_ptx(const KernelImage& image, File* file) const;
  Status load_kernel(const KernelEntry& entry, CUfunction* kernel) const;

  const KernelImages& images_;
  const DeviceProperties& device_;
  mutable std::mutex mutex_;  // guards the members below; kernels_ may be read without it
  std::array<File, kKernelFileCount> files_;
  std::array<std::atomic<CUfunction>, kKernelCount> kernels_{};  // null until find() loads it
};

}  // namespace rmsnorm::cuda
