// Turns JavaScript values into C++ values. Only this file reads pointers to the memory of
// JavaScript arrays and buffers.
//
// Such a pointer is valid until JavaScript runs again, because JavaScript may resize or transfer
// the memory. It may also dispose of a GPU object that the call has read. So a call does nothing
// that can run JavaScript from its first such reading until it has used the last pointer or object:
// - It makes no promise, async work or threadsafe function, since hooks of node:async_hooks run.
// - It calls no JavaScript function.
// - It gets or sets no property, since getters and setters run. results.h defines properties
//   instead.
// The JavaScript builtins that the addon calls at other times are those that existed when it was
// loaded (Environment).
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

// Describes a value for messages: "a string", "12".
std::string describe(napi_env env, napi_value value);

// The kind of array of a dtype, for messages: "a Float32Array".
const char* array_name(DType dtype);

// A typed array in host memory. Valid until JavaScript runs again.
struct HostArray {
  napi_value value = nullptr;
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;

  std::int64_t bytes() const { return length * element_size(dtype); }
};

// Reads a typed array. Returns false if the value is not a typed array that can hold the dtype. A
// Uint16Array holds either 16-bit dtype, and a Uint8Array either float8 dtype.
bool read_host_array(napi_env env, napi_value value, DType dtype, HostArray* array);

// Whether an array is a view of a SharedArrayBuffer, whose memory does not move.
bool is_shared(napi_env env, napi_value array);

// Reads the bytes of a view of any kind (typed array, DataView, Buffer), in half the time of
// read_host_array(). Returns false if the value is not a view.
bool read_view(napi_env env, napi_value value, void** data, std::int64_t* bytes);

// Reads the memory of an ArrayBuffer of exactly `bytes` bytes. Returns false if the value is not
// such an ArrayBuffer.
bool read_array_buffer(napi_env env, napi_value value, std::int64_t bytes, void** data);

}  // namespace rmsnorm::napi
