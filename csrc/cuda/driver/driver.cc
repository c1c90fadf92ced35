#include "driver.h"

#include <mutex>

#include "../../os/never_destroyed.h"
#include "../../os/platform.h"

namespace rmsnorm::cuda {
namespace {

#if defined(_WIN32)
constexpr const char* kLibrary = "nvcuda.dll";
#else
constexpr const char* kLibrary = "libcuda.so.1";
#endif

// The status of a call that must succeed before CUDA can be used: its error is kCudaUnavailable.
Status explain(CUresult result, const char* function) {
  if (result == CUDA_SUCCESS) return {};
  const Status status = check(result, function);
  return unavailable(status.message(), status.driver_error());
}

// Opens the driver's library and fills `driver`. After an error it may be filled only in part.
Status open(Driver* driver) {
  const std::optional<std::string> named = environment_variable("RMSNORM_LIBCUDA");
  const std::string path = named.value_or(kLibrary);
  const std::string shown = "'" + path + "'" + (named ? ", named by RMSNORM_LIBCUDA," : "");

  std::string error;
  void* const library = open_library(path, &error);
  if (library == nullptr) {
    return unavailable("the driver's library " + shown + " cannot be opened (" + error + ")");
  }
  const char* missing = nullptr;
#define RMSNORM_FIND_FUNCTION(name, parameters)                                           \
  driver->name = reinterpret_cast<decltype(driver->name)>(find_function(library, #name)); \
  if (driver->name == nullptr && missing == nullptr) missing = #name;
  RMSNORM_DRIVER_FUNCTIONS(RMSNORM_FIND_FUNCTION)
#undef RMSNORM_FIND_FUNCTION

  // Checks the version before `missing`, because a driver that is too old may also lack functions.
  // The message then names the version.
  if (driver->cuDriverGetVersion == nullptr || driver->cuGetErrorName == nullptr ||
      driver->cuGetErrorString == nullptr) {
    return unavailable("the library " + shown + " is not a CUDA driver");
  }
  RMSNORM_TRY(explain(driver->cuDriverGetVersion(&driver->version), "cuDriverGetVersion"));
  if (driver->version < kOldestVersion) {
    return unavailable("the driver supports CUDA " + version_text(driver->version) + "; CUDA " +
                       version_text(kOldestVersion) + " or newer is required (driver " +
                       kOldestDriver + " or newer)");
  }
  if (missing != nullptr) {
    return unavailable("the library " + shown + " has no function " + missing);
  }
  return {};
}

struct Opened {
  std::mutex mutex;
  Driver driver;  // not written after is_initialised is set
  bool is_open = false;
  bool is_initialised = false;
};

NeverDestroyed<Opened> opened;

Status initialise(Driver* driver) {
  // cuInit has its own code for a machine without a device. Any other error is a problem of the
  // driver.
  const CUresult result = driver->cuInit(0);
  if (result == CUDA_ERROR_NO_DEVICE) {
    return unavailable("no CUDA device was found", check(result, "cuInit").driver_error());
  }
  RMSNORM_TRY(explain(result, "cuInit"));
  RMSNORM_TRY(explain(driver->cuDeviceGetCount(&driver->devices), "cuDeviceGetCount"));
  if (driver->devices < 1) return unavailable("no CUDA device was found");
  return {};
}

}  // namespace

Status unavailable(const std::string& reason, DriverError driver_error) {
  return {Code::kCudaUnavailable, "CUDA is not available: " + reason, driver_error};
}

Status open_driver() {
  Opened& state = opened.value;
  const std::lock_guard lock(state.mutex);
  if (state.is_initialised) return {};
  if (!state.is_open) RMSNORM_TRY(open(&state.driver));
  state.is_open = true;
  RMSNORM_TRY(initialise(&state.driver));
  state.is_initialised = true;
  return {};
}

const Driver& driver() { return opened.value.driver; }

Status check(CUresult result, const std::string& what) {
  if (result == CUDA_SUCCESS) return {};
  DriverError error{.number = result};
  if (driver().cuGetErrorName(result, &error.name) != CUDA_SUCCESS) error.name = nullptr;
  if (driver().cuGetErrorString(result, &error.text) != CUDA_SUCCESS) error.text = nullptr;
  std::string message = what + " failed: ";
  message += error.name != nullptr ? error.name : "error " + std::to_string(error.number);
  if (error.text != nullptr) message += std::string(" (") + error.text + ")";
  return {Code::kCuda, message, error};
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace rmsnorm::cuda
