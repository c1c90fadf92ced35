#include "values.h"

#include <cmath>
#include <limits>

namespace rmsnorm::napi {
namespace {

// Whether a number from -2^53 to 2^53 is whole. Does not use std::floor, which is a function call
// on baseline x64.
bool is_whole(double number) {
  return static_cast<double>(static_cast<std::int64_t>(number)) == number;
}

napi_typedarray_type array_kind(DType dtype) {
  if (dtype == DType::kFloat32) return napi_float32_array;
  if (dtype == DType::kInt8) return napi_int8_array;
  if (is_quantized(dtype)) return napi_uint8_array;
  return dtype == DType::kFloat64 ? napi_float64_array : napi_uint16_array;
}

}  // namespace

std::string describe(napi_env env, napi_value value) {
  if (value == nullptr) return "undefined";
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  switch (type) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    case napi_external:
      return "an external";
    case napi_number: {
      double number = 0;
      napi_get_value_double(env, value, &number);
      const bool whole = std::abs(number) <= kMaxSafeInteger && is_whole(number);
      return whole ? std::to_string(static_cast<std::int64_t>(number)) : std::to_string(number);
    }
    case napi_object:
      break;
  }
  bool is_typed_array = false;
  napi_is_typedarray(env, value, &is_typed_array);
  return is_typed_array ? "another typed array" : "an object";
}

const char* array_name(DType dtype) {
  if (dtype == DType::kFloat32) return "a Float32Array";
  if (dtype == DType::kInt8) return "an Int8Array";
  if (is_quantized(dtype)) return "a Uint8Array";
  return dtype == DType::kFloat64 ? "a Float64Array" : "a Uint16Array";
}

bool read_host_array(napi_env env, napi_value value, DType dtype, HostArray* array) {
  napi_typedarray_type kind = napi_int8_array;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &kind, &length, &data, nullptr, nullptr) != napi_ok ||
      kind != array_kind(dtype)) {
    return false;
  }
  *array = {value, data, dtype, static_cast<std::int64_t>(length)};
  return true;
}

bool is_shared(napi_env env, napi_value array) {
  napi_typedarray_type kind = napi_int8_array;
  std::size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  bool is_array_buffer = true;
  return napi_get_typedarray_info(env, array, &kind, &length, &data, &buffer, nullptr) == napi_ok &&
         napi_is_arraybuffer(env, buffer, &is_array_buffer) == napi_ok && !is_array_buffer;
}

bool read_view(napi_env env, napi_value value, void** data, std::int64_t* bytes) {
  // napi_is_buffer is true for any view. napi_get_buffer_info aborts on anything else, so check
  // first.
  bool is_buffer = false;
  std::size_t length = 0;
  if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer ||
      napi_get_buffer_info(env, value, data, &length) != napi_ok) {
    return false;
  }
  *bytes = static_cast<std::int64_t>(length);
  return true;
}

bool read_array_buffer(napi_env env, napi_value value, std::int64_t bytes, void** data) {
  bool is_array_buffer = false;
  std::size_t length = 0;
  return napi_is_arraybuffer(env, value, &is_array_buffer) == napi_ok && is_array_buffer &&
         napi_get_arraybuffer_info(env, value, data, &length) == napi_ok &&
         length == static_cast<std::size_t>(bytes);
}

}  // namespace rmsnorm::napi
