#include "errors.h"

#include <string>
#include <string_view>

#include "../os/never_destroyed.h"
#include "results.h"

namespace rmsnorm::napi {
namespace {

// Turns CUDA_ERROR_ILLEGAL_ADDRESS into ERR_CUDA_ILLEGAL_ADDRESS.
std::string cuda_code(const DriverError& error) {
  constexpr std::string_view kPrefix = "CUDA_ERROR_";
  const std::string_view name = error.name == nullptr ? "" : error.name;
  if (!name.starts_with(kPrefix)) return "ERR_CUDA_UNKNOWN";
  return "ERR_CUDA_" + std::string(name.substr(kPrefix.size()));
}

}  // namespace

napi_value make_error(napi_env env, const Status& status) {
  struct Kind {
    std::string_view code;
    napi_status (*create)(napi_env, napi_value, napi_value, napi_value*);
  };
  const DriverError& driver_error = status.driver_error();
  std::string cuda;
  const Kind kind = [&]() -> Kind {
    switch (status.code()) {
      case Code::kWrongType:
        return {"ERR_INVALID_ARG_TYPE", napi_create_type_error};
      case Code::kOutOfRange:
        return {"ERR_OUT_OF_RANGE", napi_create_range_error};
      case Code::kInvalidValue:
        return {"ERR_INVALID_ARG_VALUE", napi_create_type_error};
      case Code::kInvalidEnvironment:
        return {"ERR_INVALID_ENVIRONMENT", napi_create_error};
      case Code::kInvalidState:
        return {"ERR_INVALID_STATE", napi_create_error};
      case Code::kDisposed:
        return {"ERR_DISPOSED", napi_create_error};
      case Code::kOutOfMemory:
        return {"ERR_MEMORY_ALLOCATION_FAILED", napi_create_error};
      case Code::kCudaUnavailable:
        return {"ERR_CUDA_UNAVAILABLE", napi_create_error};
      case Code::kCuda:
        return {cuda = cuda_code(driver_error), napi_create_error};
      case Code::kOk:
        break;
    }
    return {"ERR_INTERNAL", napi_create_error};
  }();
  napi_value error = nullptr;
  // The code is not passed to Node-API, which would assign it: a setter of a prototype could run
  // and throw.
  kind.create(env, nullptr, make_string(env, status.message()), &error);
  set_own(env, error, {"code", make_string(env, kind.code)});
  if (driver_error.number != 0) {
    const auto set = [&](const char* name, const char* text) {
      set_own(env, error, {name, make_string(env, text == nullptr ? "" : text)});
    };
    set("driverError", driver_error.name);
    set("driverMessage", driver_error.text);
  }
  return error;
}

napi_value throw_status(napi_env env, const Status& status) {
  napi_throw(env, make_error(env, status));
  return nullptr;
}

Status out_of_memory() {
  static const NeverDestroyed<Status::Failure> failure(Code::kOutOfMemory, "Out of memory",
                                                       DriverError{});
  return Status(failure.value);
}

Status ending() { return {Code::kInvalidState, "The JavaScript environment is shutting down"}; }

}  // namespace rmsnorm::napi
