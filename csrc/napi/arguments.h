// Wraps the functions that the addon exports as Node-API callbacks, and reads their arguments. Each
// argument is read and checked by index, one at a time. forward and backward read their arguments
// in another way (args/).
#pragma once

#include <node_api.h>

#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <type_traits>

#include "../op/status.h"
#include "errors.h"
#include "values.h"

namespace rmsnorm::napi {

// Errors that say what an argument must be and what was received.
Status argument_error(napi_env env, Code code, const char* name, const std::string& expected,
                      napi_value actual);
Status length_error(const char* name, std::int64_t expected, std::int64_t actual);

class Arguments {
 public:
  // Errors: kWrongType.
  Status begin(napi_env env, napi_callback_info info);
  Status run(Status (*function)(Arguments&)) { return function(*this); }

  napi_env env() const { return env_; }
  napi_value operator[](std::size_t index) const { return values_[index]; }

  // Errors: kWrongType, kOutOfRange.
  Status number(std::size_t index, const char* name, double* number) const;
  Status integer(std::size_t index, const char* name, std::int64_t min, std::int64_t max,
                 std::int64_t* integer) const;
  Status boolean(std::size_t index, const char* name, bool* boolean) const;
  Status text(std::size_t index, const char* name, std::string* text) const;
  Status pointer(std::size_t index, std::uint64_t* pointer) const;
  // Any dtype but float64.
  Status dtype(std::size_t index, DType* dtype) const;
  // An array at `index` whose dtype is the next argument.
  Status array(std::size_t index, const char* name, HostArray* array) const;

  Status wrong_type(std::size_t index, const char* name, const char* expected) const;

  // Sets the result. Without it a function returns undefined.
  void returns(napi_value value) { result_ = value; }
  napi_value result() const { return result_; }

 private:
  static constexpr std::size_t kMaxArguments = 6;

  napi_env env_ = nullptr;
  napi_value values_[kMaxArguments] = {};  // undefined if not passed
  napi_value result_ = nullptr;
};

// Makes a Node-API callback from a function that takes Arguments or an ObjectCall: throws its
// error, or returns its result. `function` may also be a Node-API callback already. In both cases
// std::bad_alloc becomes a JavaScript error: a C++ exception that left a callback would end the
// process.
template <auto function>
napi_value guarded(napi_env env, napi_callback_info info) {
  const auto run = [&]<class AnyCall, class... Subject>(Status (*called)(AnyCall&, Subject & ...)) {
    AnyCall call;
    Status status = call.begin(env, info);
    if (status.ok()) status = call.run(called);
    return status.ok() ? call.result() : throw_status(env, status);
  };
  try {
    if constexpr (std::is_same_v<decltype(function), napi_callback>) {
      return function(env, info);
    } else {
      return run(function);
    }
  } catch (const std::bad_alloc&) {
    return throw_status(env, out_of_memory());
  }
}

// A table of exported functions, for napi_define_properties. A file defines its table after its
// functions.
using Methods = std::span<const napi_property_descriptor>;

template <auto function>
constexpr napi_property_descriptor method(const char* name) {
  return {name,    nullptr, guarded<function>,       nullptr,
          nullptr, nullptr, napi_default_jsproperty, nullptr};
}

}  // namespace rmsnorm::napi
