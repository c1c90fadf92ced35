// The kernels of a device: each file is loaded when a kernel of it is first asked for.
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

// All members are called within a DeviceScope of the device, but loaded_image().
class KernelModules {
 public:
  KernelModules(const KernelImages& images, const DeviceProperties& device)
      : images_(images), device_(device) {}

  // The kernel of an entry; a launch of it may use all the shared memory of a block. It stays valid
  // until unload(), and costs no lock from its second time on. The first kernel of a file loads the
  // file, which takes seconds where the driver compiles PTX: it keeps the result on disk. Errors:
  // kCuda.
  Status find(const KernelEntry& entry, CUfunction* kernel);

  Status load_all();
  void unload() noexcept;

  // What the kernels of a file were loaded from: "machine code", or "compute_80" for such PTX, or
  // nothing where no kernel of it has been asked for.
  std::string loaded_image(std::size_t file) const;

 private:
  struct File {
    CUmodule module = nullptr;
    int ptx = 0;  // its compute capability, such as 80, where the module is from PTX
  };

  Status load_file(std::size_t file);
  CUresult load_code_or_ptx(const KernelImage& image, File* file) const;
  Status load_kernel(const KernelEntry& entry, CUfunction* kernel) const;

  const KernelImages& images_;
  const DeviceProperties& device_;
  mutable std::mutex mutex_;  // of all below, but that kernels_ is read without it
  std::array<File, kKernelFileCount> files_;
  std::array<std::atomic<CUfunction>, kKernelCount> kernels_{};  // null until it was asked for
};

}  // namespace rmsnorm::cuda
