// From JavaScript values to the operator's arguments: the only place where a pointer is made from
// one. Every check that memory safety needs is here; lib/ has given better messages before.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "../rms_norm.h"
#include "../status.h"

namespace rmsnorm::napi {

// An array argument: memory of JavaScript's, valid until JavaScript runs again.
struct Array {
  const char* name = nullptr;
  napi_value value = nullptr;  // null if the argument was null or undefined
  void* data = nullptr;
  std::int64_t length = 0;  // elements
  std::int64_t byte_length = 0;
  bool is_shared = false;  // on a SharedArrayBuffer, whose memory does not move
  bool is_fresh = false;   // the argument was `true`: the callee is to make it
  DType dtype = DType::kFloat32;

  bool is_given() const { return value != nullptr; }
  bool is_wanted() const { return is_given() || is_fresh; }
};

enum class Presence { kRequired, kOptional, kOptionalOrFresh, kRequiredOrFresh };

// Reads positional arguments, in order; after the first failure nothing more is read. status()
// tells the outcome of all of them.
class ArgumentReader {
 public:
  static constexpr std::size_t kMaxArguments = 10;

  ArgumentReader(napi_env env, napi_callback_info info);

  // Makes array() find out is_shared.
  void look_for_shared_memory() { find_shared_ = true; }

  // A Float32Array for float32 and a Uint16Array for the 16-bit types. `also_float32` accepts
  // float32 beside a 16-bit `dtype`.
  Array array(const char* name, DType dtype, Presence presence, bool also_float32 = false);
  // A number that is finite in float32, and at least `least`.
  float number(const char* name, float least);
  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most);
  std::string text(const char* name);
  DType dtype(std::int64_t code);

  // The argument at `index`, out of order.
  std::int64_t integer_at(std::size_t index, const char* name, std::int64_t least,
                          std::int64_t most);

  const Status& status() const { return status_; }

 private:
  napi_value next() { return index_ < kMaxArguments ? values_[index_++] : nullptr; }
  double any_number(napi_value value, const char* name);
  void read_absent(napi_value value, Presence presence, Array* array);
  void fail(Code code, const char* name, const std::string& expected, napi_value actual);

  napi_env env_;
  napi_value values_[kMaxArguments];
  std::size_t index_ = 0;
  bool find_shared_ = false;
  Status status_;
};

// Where a call runs: the CPU, or the CUDA device of an ordinal.
static constexpr int kCpu = -1;

struct ForwardCall {
  Array x, weight, y, rstd;
  ForwardArgs args;  // pointers of arrays that are fresh are null
  int device;
};
struct BackwardCall {
  Array dy, x, weight, rstd, dx, dweight;
  BackwardArgs args;
  int device;
};

// The arguments of binding.d.ts's forward and backward, and of their asynchronous twins. Checked:
// kinds, lengths, ranges and overlaps.
Status read_forward(napi_env env, napi_callback_info info, bool is_async, ForwardCall* call);
Status read_backward(napi_env env, napi_callback_info info, bool is_async, BackwardCall* call);

Status check_length(const Array& array, std::int64_t length);

// An output must not overlap any of `others`, nor any of `may_equal` unless it is exactly that.
Status check_overlap(const Array& output, std::initializer_list<const Array*> others,
                     std::initializer_list<const Array*> may_equal);

// What a value is, for messages: "a string", "12".
std::string describe(napi_env env, napi_value value);

napi_value make_string(napi_env env, const std::string& text);

// Throws the JavaScript error of a status that is not ok, and returns null.
napi_value throw_status(napi_env env, const Status& status);

// The same error as a value.
napi_value make_error(napi_env env, const Status& status);

}  // namespace rmsnorm::napi
