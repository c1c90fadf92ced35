// What a file of compiled kernels holds: machine code for drivers of nvcc's CUDA and newer, and PTX
// for older drivers and for GPUs that have no machine code (cmake/ptx.cmake).
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rmsnorm::cuda {

class KernelImage {
 public:
  // Takes a file without its checksum. False if it is of another form.
  [[nodiscard]] bool parse(std::vector<std::byte> file);

  // A fatbin for cuModuleLoadData, which drivers from a version of CUDA on can read.
  const void* machine_code() const { return file_.data(); }
  int machine_code_version() const { return machine_code_version_; }

  // The compute capability, such as 80, of the newest PTX that a GPU and a driver take, by its
  // compute capability and its newest CUDA; 0 if there is none.
  int find_ptx(int capability, int driver_version) const;

  // The text of PTX that find_ptx() found; empty if the file is damaged.
  std::string ptx(int capability) const;

 private:
  struct Ptx {
    int capability;    // such as 80
    int cuda_version;  // of the first driver that reads it, such as 11000
  };

  std::vector<std::byte> file_;
  int machine_code_version_ = 0;
  std::vector<Ptx> ptx_;   // in the order of the texts
  std::size_t texts_ = 0;  // where the xz stream of all texts begins
};

}  // namespace rmsnorm::cuda
