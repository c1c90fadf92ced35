// The only error type below the binding.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "../os/never_destroyed.h"

namespace rmsnorm {

enum class Code {
  kOk,
  kWrongType,           // an argument is of another kind
  kOutOfRange,          // an argument is of the right kind, and its value or length is not possible
  kInvalidValue,        // arguments that cannot go together, such as overlapping arrays
  kInvalidEnvironment,  // an environment variable asks for what is not there
  kInvalidState,        // what is asked for is not possible now, such as during a capture
  kDisposed,            // an object has been disposed of
  kOutOfMemory,         // of the host
  kCudaUnavailable,     // no driver, one too old, no device, no kernels
  kCuda,                // the CUDA driver reported an error: driver_error() says which
};

// An error of the CUDA driver in its own words, which stay as long as the process.
struct DriverError {
  int number = 0;
  const char* name = nullptr;  // such as CUDA_ERROR_OUT_OF_MEMORY; null if it has none
  const char* text = nullptr;  // such as "out of memory"; null if it has none
};

// Whether something was done, or why not. One that is ok is a null pointer: what every call of the
// operator makes several of.
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
  // Allocates nothing. `failure` stays as long as the process.
  explicit Status(const Failure& failure) : failure_(std::shared_ptr<void>(), &failure) {}

  bool ok() const { return failure_ == nullptr; }
  Code code() const { return ok() ? Code::kOk : failure_->code; }
  // Empty, and all zero, of one that is ok. The error of the driver is all zero, too, unless that
  // was at the bottom of it.
  const std::string& message() const { return failure().message; }
  const DriverError& driver_error() const { return failure().driver_error; }

 private:
  const Failure& failure() const {
    static const NeverDestroyed<Failure> none;
    return ok() ? none.value : *failure_;
  }

  std::shared_ptr<const Failure> failure_;
};

// Leaves the calling function with the status of `expression` unless that is ok.
#define RMSNORM_TRY(expression)                                  \
  do {                                                           \
    if (::rmsnorm::Status status = (expression); !status.ok()) { \
      return status;                                             \
    }                                                            \
  } while (false)

}  // namespace rmsnorm
