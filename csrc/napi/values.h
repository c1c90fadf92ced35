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
static constexpr double kMaxFloat = std::numeric_limits<float>::max();
static constexpr double kMaxDouble = std::numeric_limits<double>::max();

// What a value is, for messages: "a string", "12".
std::string describe(napi_env env, napi_value value);

// Whether it is undefined or null.
bool is_absent(napi_env env, napi_value value);

// What an array of the dtype is, for messages: "a Float32Array".
const char* array_name(DType dtype);

class DeviceBuffer;

// What a value that stands for memory refers to. Valid until JavaScript runs again.
struct Memory {
  void* data = nullptr;
  std::int64_t length = 0;  // elements
  napi_typedarray_type kind = napi_int8_array;
  bool is_shared = false;                // on a SharedArrayBuffer, whose memory does not move
  const DeviceBuffer* buffer = nullptr;  // whose memory it is, if that is on a device

  // Whether the elements can be of the dtype: a Uint16Array is of either 16-bit one.
  bool holds(DType dtype) const;
};

// False if the value is no typed array. `find_shared`: is_shared is asked for, which takes time.
bool read_memory(napi_env env, napi_value value, bool find_shared, Memory* memory);

// The bytes of a view of whatever kind, found in half the time. False if the value is none.
bool read_view(napi_env env, napi_value value, void** data, std::int64_t* bytes);

// The memory of an ArrayBuffer of so many bytes. False if the value is none.
bool read_array_buffer(napi_env env, napi_value value, std::int64_t bytes, void** data);

// The memory of a buffer on a device. Errors: kDisposed.
Status read_buffer(const DeviceBuffer& buffer, const char* name, Memory* memory);

// An array argument.
struct Array {
  const char* name = "";
  napi_value value = nullptr;  // null if the argument was null or undefined
  Memory memory;
  bool is_fresh = false;  // the argument was `true`: the callee is to make it
  DType dtype = DType::kFloat32;

  bool is_given() const { return value != nullptr; }
  bool is_wanted() const { return is_given() || is_fresh; }
};

enum class Presence { kRequired, kOptional, kOptionalOrFresh, kRequiredOrFresh };

// Reads positional arguments, in order; after the first failure nothing more is read. status()
// tells the outcome of all of them.
class ArgumentReader {
 public:
  static constexpr std::size_t kMaxArguments = 14;

  // `data` receives what the function was made with.
  ArgumentReader(napi_env env, napi_callback_info info, void** data = nullptr);

  // Makes array() find out is_shared.
  void look_for_shared_memory() { find_shared_ = true; }

  // Makes array() take memory of a device, too.
  void look_for_device_memory() { find_buffers_ = true; }

  // The next argument, whatever it is.
  napi_value any() { return next(); }

  // Leaves an argument out that has been read out of order.
  void skip() { ++index_; }

  // Whether all arguments that were passed have been read.
  bool is_at_end() const { return index_ >= count_; }

  // A Float32Array for float32, a Float64Array for float64 and a Uint16Array for the 16-bit types.
  // `also_float32` accepts float32 beside a 16-bit `dtype`.
  void array(const char* name, DType dtype, Presence presence, Array* array,
             bool also_float32 = false);
  // A finite number from `least` to `most`, which is the largest of float32 or of float64.
  double number(const char* name, double least, double most);
  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most);
  // A Float64Array of `count` whole numbers from 0 up, which are written to `numbers`; or undefined
  // or null. Returns whether it was there.
  bool integers(const char* name, std::size_t count, std::int64_t* numbers);
  std::string text(const char* name);

  // The argument at `index`, out of order.
  std::int64_t integer_at(std::size_t index, const char* name, std::int64_t least,
                          std::int64_t most);

  const Status& status() const { return status_; }

 private:
  napi_value next() { return index_ < kMaxArguments ? values_[index_++] : nullptr; }
  double any_number(napi_value value, const char* name);
  bool read_absent(napi_value value, Presence presence, Array* array);
  bool read_buffer(napi_value value, Array* array);
  void fail(Code code, const char* name, const std::string& expected, napi_value actual);

  napi_env env_;
  napi_value values_[kMaxArguments];
  std::size_t count_ = kMaxArguments;
  std::size_t index_ = 0;
  bool find_shared_ = false;
  bool find_buffers_ = false;
  Status status_;
};

}  // namespace rmsnorm::napi
