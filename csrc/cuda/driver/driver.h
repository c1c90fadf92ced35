// The CUDA driver. Its library is opened on first use and never closed.
#pragma once

#include <string>

#include "../../op/status.h"
#include "driver_api.h"

namespace rmsnorm::cuda {

// The driver's functions, under their exported names, and what the driver reports.
struct Driver {
#define RMSNORM_DECLARE_FUNCTION(name, parameters) CUresult(*name) parameters = nullptr;
  RMSNORM_DRIVER_FUNCTIONS(RMSNORM_DECLARE_FUNCTION)
#undef RMSNORM_DECLARE_FUNCTION
  int version = 0;  // newest CUDA version it supports: 1000 * major + 10 * minor
  int devices = 0;  // number of devices, at least 1
};

// A driver must support CUDA 11.0 or newer. Driver release 450 is the first that does. Every
// function of driver_api.h exists since that version.
inline constexpr int kOldestVersion = 11000;
inline constexpr const char* kOldestDriver = "450";

// Opens the library that the environment variable RMSNORM_LIBCUDA names, or else the system's
// driver library. Then initialises the driver and counts its devices. After a success, later calls
// do nothing. After a failure, the next call tries again, because a driver may be short of memory
// for a moment. Any thread may call.
//
// Errors: kCudaUnavailable; the message says what is missing.
Status open_driver();

// A kCudaUnavailable status with `reason` in its message.
Status unavailable(const std::string& reason, DriverError driver_error = {});

// The driver. Valid after open_driver() has succeeded. A Device exists only after that.
const Driver& driver();

// The status of a call's result: ok, or kCuda with a message such as "cuMemAlloc_v2 failed:
// CUDA_ERROR_OUT_OF_MEMORY (out of memory)", where `what` is "cuMemAlloc_v2".
Status check(CUresult result, const std::string& what);
inline Status check(CUresult result, const char* what) {
  return result == CUDA_SUCCESS ? Status() : check(result, std::string(what));
}

// Calls a driver function and returns the status of its result.
#define RMSNORM_CUDA(function, ...) \
  ::rmsnorm::cuda::check(::rmsnorm::cuda::driver().function(__VA_ARGS__), #function)

// While a RelaxedCaptures lives, no capture of a stream by another library forbids this thread's
// driver calls. During a capture whose mode is not relaxed, the driver refuses allocations, because
// they may wait for the captured work. Relaxing the mode is safe: our calls never use memory or
// streams that other libraries capture.
class RelaxedCaptures {
 public:
  RelaxedCaptures() : is_exchanged_(exchange()) {}
  ~RelaxedCaptures() {
    if (is_exchanged_) exchange();
  }
  RelaxedCaptures(const RelaxedCaptures&) = delete;
  RelaxedCaptures& operator=(const RelaxedCaptures&) = delete;

 private:
  bool exchange() { return driver().cuThreadExchangeStreamCaptureMode(&mode_) == CUDA_SUCCESS; }

  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
  const bool is_exchanged_;
};

// "13.0" for 13000.
std::string version_text(int version);

}  // namespace rmsnorm::cuda
