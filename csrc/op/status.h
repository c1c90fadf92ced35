// The only error type below the binding.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "../os/never_destroyed.h"

namespace rmsnorm {

enum class Code {
  kOk,
  kWrongType,           // an argument has the wrong type
  kOutOfRange,          // an argument has the right type, but its value or length is not valid
  kInvalidValue,        // arguments that cannot go together, such as overlapping arrays
  kInvalidEnvironment,  // an environment variable has a value that is not possible here
  kInvalidState,        // the operation is not possible now, such as during a graph capture
  kDisposed,            // an object has been disposed of
  kOutOfMemory,         // no host memory left
  kCudaUnavailable,     // no driver, a driver that is too old, no device or no kernels
  kCuda,                // the CUDA driver reported an error: driver_error() says which
};

// An error as the CUDA driver reports it. The strings stay valid until the process ends.
struct DriverError {
  int number = 0;
  const char* name = nullptr;  // such as CUDA_ERROR_OUT_OF_MEMORY; null if it has none
  const char* text = nullptr;  // such as "out of memory"; null if it has none
};

// Success, or the reason of a failure. Success is a null pointer, which costs little, because every
// call of the operator creates several of these.
class [[nodiscard]] Status {
 public:
  struct Failure {
    Code code = Code::kOk;
    std::string message;
    DriverError driver_error;
  };

  Status() = default;
  Status(Code code, std::string message, DriverError driver_error = {})
      : failure_(std::make_shared<const Failure>(Failure{code, std::move(message), driver_error})) {
  }
  // Allocates nothing. `failure` must stay valid until the process ends.
  explicit Status(const Failure& failure) : failure_(std::shared_ptr<void>(), &failure) {}

  bool ok() const { return failure_ == nullptr; }
  Code code() const { return ok() ? Code::kOk : failure_->code; }
  // If ok, the message is empty and the driver error is all zero. The driver error is also all zero
  // if the failure does not come from the driver.
  const std::string& message() const { return failure().message; }
  const DriverError& driver_error() const { return failure().driver_error; }

 private:
  const Failure& failure() const {
    static const NeverDestroyed<Failure> none;
    return ok() ? none.value : *failure_;
  }

  std::shared_ptr<const Failure> failure_;
};

// Returns from the calling function with the status of `expression` unless that is ok.
#define RMSNORM_TRY(expression)                                  \
  do {                                                           \
    if (::rmsnorm::Status status = (expression); !status.ok()) { \
      return status;                                             \
    }                                                            \
  } while (false)

}  // namespace rmsnorm
