// A file of compiled kernels. It has machine code for drivers that are at least as new as nvcc's
// CUDA, and PTX for older drivers and for GPUs without machine code. cmake/run_nvcc.cmake writes it
// and states the format.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rmsnorm::cuda {

class KernelImage {
 public:
  // Reads a file without its checksum. False if the file does not have this format.
  [[nodiscard]] bool parse(std::vector<std::byte> file);

  // A fatbin for cuModuleLoadData; empty if the file is damaged.
  std::string machine_code() const;
  // The oldest CUDA whose drivers read the machine code, such as 13000.
  int machine_code_version() const { return machine_code_version_; }

  // The compute capability, such as 80, of the newest PTX for a GPU of `capability` and a driver of
  // CUDA `driver_version`; 0 if there is none.
  int find_ptx(int capability, int driver_version) const;

  // The PTX for a compute capability that find_ptx() returned; empty if the file is damaged.
  std::string ptx(int capability) const;

 private:
  struct Ptx {
    int capability;    // such as 80
    int cuda_version;  // the oldest CUDA whose drivers read it, such as 11000
  };

  std::vector<std::byte> file_;
  int machine_code_version_ = 0;
  std::size_t machine_code_ = 0;  // offset of its xz stream in the file
  std::size_t texts_ = 0;         // offset of the xz stream of all PTX
  std::vector<Ptx> ptx_;          // in the order of the texts
};

}  // namespace rmsnorm::cuda
