#include "kernel_modules.h"

#include "device.h"
#include "driver.h"

namespace rmsnorm::cuda {

Status KernelModules::find(const KernelEntry& entry, CUfunction* kernel) {
  std::atomic<CUfunction>& known = kernels_[kernel_number(entry)];
  *kernel = known.load(std::memory_order_acquire);
  if (*kernel != nullptr) return {};
  const RelaxedCaptures captures;
  const std::lock_guard lock(mutex_);
  if (files_[entry.file].module == nullptr) RMSNORM_TRY(load_file(entry.file));
  RMSNORM_TRY(load_kernel(entry, kernel));
  known.store(*kernel, std::memory_order_release);
  return {};
}

Status KernelModules::load_all() {
  for (const KernelEntry& entry : kernel_registry()) {
    CUfunction kernel = nullptr;
    RMSNORM_TRY(find(entry, &kernel));
  }
  return {};
}

void KernelModules::unload() noexcept {
  const std::lock_guard lock(mutex_);
  for (auto& kernel : kernels_) kernel.store(nullptr, std::memory_order_relaxed);
  for (File& file : files_) {
    if (file.module != nullptr) driver().cuModuleUnload(file.module);
    file = {};
  }
}

std::string KernelModules::loaded_image(std::size_t file) const {
  const std::lock_guard lock(mutex_);
  const auto& [module, ptx] = files_[file];
  if (module == nullptr) return {};
  return ptx == 0 ? "machine code" : "compute_" + std::to_string(ptx);
}

Status KernelModules::load_file(std::size_t file) {
  File loaded;
  const CUresult result = load_code_or_ptx(images_[file], &loaded);
  if (result == CUDA_SUCCESS) {
    files_[file] = loaded;
    return {};
  }
  const Status status = check(result, "cuModuleLoadData");
  return {status.code(),
          "The kernels cannot be loaded on " + device_name(device_.ordinal) + " (" + device_.name +
              ", compute capability " + std::to_string(device_.major) + "." +
              std::to_string(device_.minor) + "): " + status.message(),
          status.driver_error()};
}

CUresult KernelModules::load_code_or_ptx(const KernelImage& image, File* file) const {
  CUresult result = CUDA_ERROR_NO_BINARY_FOR_GPU;
  if (driver().version >= image.machine_code_version()) {
    const std::string code = image.machine_code();
    if (code.empty()) return CUDA_ERROR_INVALID_IMAGE;
    result = driver().cuModuleLoadData(&file->module, code.data());
  }
  if (result != CUDA_ERROR_NO_BINARY_FOR_GPU) return result;
  const int ptx = image.find_ptx(10 * device_.major + device_.minor, driver().version);
  if (ptx == 0) return result;
  const std::string text = image.ptx(ptx);
  if (text.empty()) return CUDA_ERROR_INVALID_IMAGE;
  file->ptx = ptx;
  return driver().cuModuleLoadData(&file->module, text.c_str());
}

Status KernelModules::load_kernel(const KernelEntry& entry, CUfunction* kernel) const {
  CUfunction function = nullptr;
  RMSNORM_TRY(check(driver().cuModuleGetFunction(&function, files_[entry.file].module, entry.name),
                    std::string("cuModuleGetFunction of ") + entry.name));
  int static_bytes = 0;
  RMSNORM_TRY(RMSNORM_CUDA(cuFuncGetAttribute, &static_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
                           function));
  // Without this attribute a launch may use at most 48 KiB of shared memory. With it, the launch
  // may use all that a block can have.
  RMSNORM_TRY(RMSNORM_CUDA(cuFuncSetAttribute, function,
                           CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                           device_.shared_memory_optin - static_bytes));
  *kernel = function;
  return {};
}

}  // namespace rmsnorm::cuda
