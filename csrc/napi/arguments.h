// The arguments of the exported functions but for those of forward and backward: read and checked
// one at a time, by their index.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>

#include "../op/rms_norm.h"
#include "../op/status.h"

namespace rmsnorm::napi {

// What an argument must be, and what it is.
Status argument_error(napi_env env, Code code, const char* name, const std::string& expected,
                      napi_value actual);

// A typed array. Valid until JavaScript runs again.
struct HostArray {
  napi_value value = nullptr;
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;

  std::int64_t bytes() const { return length * element_size(dtype); }
};

// A typed array of this dtype. Errors: kWrongType.
Status read_host_array(napi_env env, napi_value value, DType dtype, const char* name,
                       HostArray* array);

class Arguments {
 public:
  // Errors: kWrongType.
  Status read(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }
  napi_value operator[](std::size_t index) const { return values_[index]; }

  // Errors: kWrongType, kOutOfRange.
  Status number(std::size_t index, const char* name, double* number) const;
  Status integer(std::size_t index, const char* name, std::int64_t least, std::int64_t most,
                 std::int64_t* integer) const;
  Status boolean(std::size_t index, const char* name, bool* boolean) const;
  Status text(std::size_t index, const char* name, std::string* text) const;
  Status pointer(std::size_t index, std::uint64_t* pointer) const;
  // All but float64.
  Status dtype(std::size_t index, DType* dtype) const;
  // An array, followed by its dtype.
  Status array(std::size_t index, const char* name, HostArray* array) const;

  Status wrong_type(std::size_t index, const char* name, const char* expected) const;

 private:
  static constexpr std::size_t kMaxArguments = 6;

  napi_env env_ = nullptr;
  napi_value values_[kMaxArguments] = {};  // those not passed are undefined
};

}  // namespace rmsnorm::napi
