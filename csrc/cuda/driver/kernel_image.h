// A file of compiled kernels: machine code for drivers of nvcc's CUDA and newer ones, and PTX for
// older drivers and for GPUs that have no machine code. cmake/run_nvcc.cmake writes it and has the
// format.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rmsnorm::cuda {

class KernelImage {
 public:
  // Takes a file without its checksum. False if its format is another.
  [[nodiscard]] bool parse(std::vector<std::byte> file);

  // A fatbin for cuModuleLoadData; empty if the file is damaged.
  std::string machine_code() const;
  // The oldest CUDA whose drivers read it, such as 13000.
  int machine_code_version() const { return machine_code_version_; }

  // The compute capability, such as 80, of the newest PTX that a GPU and a driver can read, by the
  // GPU's compute capability and the driver's CUDA; 0 if there is none.
  int find_ptx(int capability, int driver_version) const;

  // The PTX of a compute capability that find_ptx() returned; empty if the file is damaged.
  std::string ptx(int capability) const;

 private:
  struct Ptx {
    int capability;    // such as 80
    int cuda_version;  // the oldest whose drivers read it, such as 11000
  };

  std::vector<std::byte> file_;
  int machine_code_version_ = 0;
  std::size_t machine_code_ = 0;  // offset of its xz stream in the file
  std::size_t texts_ = 0;         // offset of the xz stream of all PTX
  std::vector<Ptx> ptx_;          // in the order of the texts
};

}  // namespace rmsnorm::cuda
