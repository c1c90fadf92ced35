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
  kOutOfMemory,
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
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
