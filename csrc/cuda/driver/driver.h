// The CUDA driver: the library is opened when it is first needed, and never closed.
#pragma once

#include <string>

#include "../../op/status.h"
#include "driver_api.h"

namespace rmsnorm::cuda {

// Its functions, as members of the names they have there, and what it says of itself.
struct Driver {
#define RMSNORM_DECLARE_FUNCTION(name, parameters) CUresult(*name) parameters = nullptr;
  RMSNORM_DRIVER_FUNCTIONS(RMSNORM_DECLARE_FUNCTION)
#undef RMSNORM_DECLARE_FUNCTION
  int version = 0;  // 1000 * major + 10 * minor of the newest CUDA it serves
  int devices = 0;  // at least 1
};

// The oldest CUDA that a driver may serve, and the first drivers that do: all functions of
// driver_api.h are that old.
inline constexpr int kOldestVersion = 11000;
inline constexpr const char* kOldestDriver = "450";

// Opens the library RMSNORM_LIBCUDA names, else the system's, initialises the driver and counts its
// devices. Once this has succeeded, later calls do nothing; after a failure the next call tries
// again, since a driver may be short of memory for a moment. Any thread may call.
//
// Errors: kCudaUnavailable, with a message that says what is missing.
Status open_driver();

// kCudaUnavailable, for a reason.
Status unavailable(const std::string& reason, DriverError driver_error = {});

// The driver, once open_driver() was ok: whoever holds a Device may call it.
const Driver& driver();

// A status of a call's result: ok, or kCuda with a message such as "cuMemAlloc_v2 failed:
// CUDA_ERROR_OUT_OF_MEMORY (out of memory)", where `what` was cuMemAlloc_v2.
Status check(CUresult result, const std::string& what);
inline Status check(CUresult result, const char* what) {
  return result == CUDA_SUCCESS ? Status() : check(result, std::string(what));
}

// Calls a function of the driver and gives the status of its result.
#define RMSNORM_CUDA(function, ...) \
  ::rmsnorm::cuda::check(::rmsnorm::cuda::driver().function(__VA_ARGS__), #function)

// For as long as it lives, captures that other libraries have begun do not forbid the calls of this
// thread. The driver refuses allocations beside a capture that is not relaxed, since they may wait
// for the work that is captured; ours never use what others capture.
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

// "13.0" of 13000.
std::string version_text(int version);

}  // namespace rmsnorm::cuda
