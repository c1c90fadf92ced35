// The only error type below the binding.
#pragma once

#include <string>
#include <utility>

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

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  Status(Code code, std::string message, DriverError driver_error)
      : code_(code), driver_error_(driver_error), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // All zero unless the CUDA driver was at the bottom of it.
  const DriverError& driver_error() const { return driver_error_; }

 private:
  Code code_ = Code::kOk;
  DriverError driver_error_;
  std::string message_;
};

// Leaves the calling function with the status of `expression` unless that is ok.
#define RMSNORM_TRY(expression)                                  \
  do {                                                           \
    if (::rmsnorm::Status status = (expression); !status.ok()) { \
      return status;                                             \
    }                                                            \
  } while (false)

}  // namespace rmsnorm
