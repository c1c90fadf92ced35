// Initialisation, errors, devices and contexts.
#include <cstring>
#include <string>

#include "driver.h"

namespace cudasim {

CUresult cuInit(unsigned flags) {
  return call_driver(Call::cuInit, [&](Driver& driver) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    if (driver.options.devices.empty()) return CUDA_ERROR_NO_DEVICE;
    driver.initialised = true;
    return CUDA_SUCCESS;
  });
}

CUresult cuDriverGetVersion(int* version) {
  return call_driver(Call::cuDriverGetVersion, [&](Driver& driver) {
    if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *version = driver.options.driver_version;
    return CUDA_SUCCESS;
  });
}

// These two functions are always allowed, even before cuInit and in callbacks.
CUresult cuGetErrorName(CUresult error, const char** name) {
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const ErrorText* found = find_error(error);
  *name = found == nullptr ? nullptr : found->name;
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text) {
  if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const ErrorText* found = find_error(error);
  *text = found == nullptr ? nullptr : found->text;
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  return call_driver(Call::cuDeviceGetCount, [&](Driver& driver) {
    if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *count = static_cast<int>(driver.options.devices.size());
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return call_driver(Call::cuDeviceGet, [&](Driver& driver) {
    if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.is_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  return call_driver(Call::cuDeviceGetName, [&](Driver& driver) {
    if (name == nullptr || length <= 0) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    const DeviceModel& model = driver.options.devices[static_cast<std::size_t>(device)];
    // The name must show that results do not come from a GPU.
    const std::string whole = "cudasim (simulated GPU, compute capability " +
                              std::to_string(model.major) + "." + std::to_string(model.minor) + ")";
    const std::string shown = whole.substr(0, static_cast<std::size_t>(length) - 1);
    std::memcpy(name, shown.c_str(), shown.size() + 1);
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  return call_driver(Call::cuDeviceTotalMem_v2, [&](Driver& driver) {
    if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *bytes = driver.options.devices[static_cast<std::size_t>(device)].memory_bytes;
    return CUDA_SUCCESS;
  });
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return call_driver(Call::cuDeviceGetAttribute, [&](Driver& driver) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    const DeviceModel& model = driver.options.devices[static_cast<std::size_t>(device)];
    switch (static_cast<int>(attribute)) {
      case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = 1024;
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
        *value = 0x7fffffff;
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *value = model.multiprocessors;
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
        *value = static_cast<int>(model.cache_bytes);
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = model.major;
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = model.minor;
        return CUDA_SUCCESS;
      case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *value = static_cast<int>(model.shared_optin_bytes);
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return call_driver(Call::cuDevicePrimaryCtxRetain, [&](Driver& driver) {
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!driver.is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    driver.retain(device);
    *context = Driver::handle_of(device);
    return CUDA_SUCCESS;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return call_driver(Call::cuDevicePrimaryCtxRelease_v2, [&](Driver& driver) {
    if (!driver.is_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    return driver.release(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
  });
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  return call_driver(Call::cuCtxGetCurrent, [&](Driver&) {
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *context = current_context();
    return CUDA_SUCCESS;
  });
}

CUresult cuCtxSetCurrent(CUcontext context) {
  return call_driver(Call::cuCtxSetCurrent, [&](Driver& driver) {
    if (context != nullptr) {
      const std::optional<CUdevice> device = driver.device_of(context);
      if (!device || driver.active(*device) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    }
    current_context() = context;
    return CUDA_SUCCESS;
  });
}

}  // namespace cudasim
