// JavaScript values as C++ ones: the only place where a pointer is made from a JavaScript value.
//
// A pointer is good until JavaScript runs again, which may resize, transfer or dispose of what it
// points into. So once the first one of a call is read, the call does nothing that can run
// JavaScript until it no longer uses any: it makes no promise, async work or threadsafe function
// (hooks of node:async_hooks run), calls no function, and gets or sets no property (getters and
// setters run; results.h defines properties instead). Builtins are those that were there when the
// addon was loaded (Environment).
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "../op/rms_norm.h"
#include "../op/status.h"

namespace rmsnorm::napi {

static constexpr std::int64_t kMaxSafeInteger = (std::int64_t{1} << 53) - 1;
static constexpr int kMaxOrdinal = 1023;  // of a device
static constexpr double kMaxFloat = std::numeric_limits<float>::max();
static constexpr double kMaxDouble = std::numeric_limits<double>::max();

// What a value is, for messages: "a string", "12".
std::string describe(napi_env env, napi_value value);

// What an array of the dtype is, for messages: "a Float32Array".
const char* array_name(DType dtype);

// A typed array of the host. Valid until JavaScript runs again.
struct HostArray {
  napi_value value = nullptr;
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;

  std::int64_t bytes() const { return length * element_size(dtype); }
};

// False if the value is no typed array whose elements can be of the dtype: a Uint16Array is of
// either 16-bit one.
bool read_host_array(napi_env env, napi_value value, DType dtype, HostArray* array);

// Whether an array is on a SharedArrayBuffer, whose memory does not move.
bool is_shared(napi_env env, napi_value array);

// The bytes of a view of whatever kind, found in half the time. False if the value is none.
bool read_view(napi_env env, napi_value value, void** data, std::int64_t* bytes);

// The memory of an ArrayBuffer of so many bytes. False if the value is none.
bool read_array_buffer(napi_env env, napi_value value, std::int64_t bytes, void** data);

}  // namespace rmsnorm::napi
