// A file of compiled kernels. It has machine code for drivers that are at least as new as nvcc's
// CUDA version. It has PTX for older drivers, and for GPUs for which it has no machine code.
// cmake/run_nvcc.cmake writes it and states the format.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rmsnorm::cuda {

class KernelImage {
 public:
  // Reads a file whose checksum line has been removed. False if the file does not have this format.
  [[nodiscard]] bool parse(std::vector<std::byte> file);

  // The machine code, a fatbin for cuModuleLoadData; empty if the file is damaged.
  std::string machine_code() const;
  // The oldest CUDA version whose drivers read the machine code, such as 13000 for 13.0.
  int machine_code_version() const { return machine_code_version_; }

  // The highest compute capability, such as 80, whose PTX works on a GPU of `capability` with a
  // driver of CUDA version `driver_version`. 0 if the file has no such PTX.
  int find_ptx(int capability, int driver_version) const;

  // The PTX for a compute capability that find_ptx() returned; empty if the file is damaged.
  std::string ptx(int capability) const;

 private:
  struct Ptx {
    int capability;    // such as 80
    int cuda_version;  // the oldest CUDA version whose drivers read this PTX, such as 11000
  };

  std::vector<std::byte> file_;
  int machine_code_version_ = 0;
  std::size_t machine_code_ = 0;  // offset of its xz stream in the file
  std::size_t texts_ = 0;         // offset of the xz stream of all PTX
  std::vector<Ptx> ptx_;          // in the order of the texts in that stream
};

}  // namespace rmsnorm::cuda
