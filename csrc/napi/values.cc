#include "values.h"

#include <cmath>
#include <limits>

#include "gpu/device_buffer.h"

namespace rmsnorm::napi {
namespace {

// Whether a number from -2^53 to 2^53 is whole. std::floor is a function call on plain x64.
bool is_whole(double number) {
  return static_cast<double>(static_cast<std::int64_t>(number)) == number;
}

napi_typedarray_type array_kind(DType dtype) {
  if (dtype == DType::kFloat32) return napi_float32_array;
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
  return dtype == DType::kFloat64 ? "a Float64Array" : "a Uint16Array";
}

bool is_absent(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type == napi_null || type == napi_undefined;
}

bool Memory::holds(DType dtype) const {
  return buffer != nullptr ? buffer->span().dtype == dtype : kind == array_kind(dtype);
}

bool read_memory(napi_env env, napi_value value, bool find_shared, Memory* memory) {
  std::size_t length = 0;
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(env, value, &memory->kind, &length, &memory->data,
                               find_shared ? &buffer : nullptr, nullptr) != napi_ok) {
    return false;
  }
  memory->length = static_cast<std::int64_t>(length);
  if (find_shared) {
    bool is_array_buffer = true;
    napi_is_arraybuffer(env, buffer, &is_array_buffer);
    memory->is_shared = !is_array_buffer;
  }
  return true;
}

bool read_view(napi_env env, napi_value value, void** data, std::int64_t* bytes) {
  // A view of any kind is a buffer. To ask is needed: what is none would end the process.
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

Status read_buffer(const DeviceBuffer& buffer, const char* name, Memory* memory) {
  RMSNORM_TRY(check_open(buffer, name));
  memory->data = reinterpret_cast<void*>(buffer.span().pointer);
  memory->length = buffer.span().length;
  memory->buffer = &buffer;
  return {};
}

ArgumentReader::ArgumentReader(napi_env env, napi_callback_info info, void** data) : env_(env) {
  // Arguments that were not passed are undefined.
  if (napi_get_cb_info(env, info, &count_, values_, nullptr, data) != napi_ok) {
    status_ = {Code::kWrongType, "The arguments can not be read"};
  }
}

void ArgumentReader::fail(Code code, const char* name, const std::string& expected,
                          napi_value actual) {
  if (!status_.ok()) return;
  status_ = {code, std::string("The argument '") + name + "' must be " + expected + ". Received " +
                       describe(env_, actual)};
}

void ArgumentReader::array(const char* name, DType dtype, Presence presence, Array* array,
                           bool also_float32) {
  array->name = name;
  array->dtype = dtype;
  napi_value value = next();
  if (!status_.ok()) return;
  if (!read_memory(env_, value, find_shared_, &array->memory)) {
    if (read_absent(value, presence, array) || !read_buffer(value, array)) return;
  }
  const bool is_16_bit = dtype == DType::kFloat16 || dtype == DType::kBFloat16;
  if (also_float32 && is_16_bit && array->memory.holds(DType::kFloat32)) {
    array->dtype = DType::kFloat32;
  }
  if (!array->memory.holds(array->dtype)) {
    fail(Code::kWrongType, name, array_name(array->dtype), value);
    return;
  }
  array->value = value;
}

// Whether the argument stands for no memory, and may.
bool ArgumentReader::read_absent(napi_value value, Presence presence, Array* array) {
  const bool is_optional =
      presence == Presence::kOptional || presence == Presence::kOptionalOrFresh;
  const bool may_be_fresh =
      presence == Presence::kRequiredOrFresh || presence == Presence::kOptionalOrFresh;
  if (is_optional && is_absent(env_, value)) return true;
  return may_be_fresh && napi_get_value_bool(env_, value, &array->is_fresh) == napi_ok &&
         array->is_fresh;
}

// Fails unless the argument is a buffer on a device, where these are taken.
bool ArgumentReader::read_buffer(napi_value value, Array* array) {
  const auto* buffer = find_buffers_ ? find_object<DeviceBuffer>(env_, value) : nullptr;
  if (buffer == nullptr) {
    fail(Code::kWrongType, array->name, array_name(array->dtype), value);
  } else {
    status_ = napi::read_buffer(*buffer, array->name, &array->memory);
  }
  return status_.ok();
}

double ArgumentReader::any_number(napi_value value, const char* name) {
  double number = 0;
  if (status_.ok() && napi_get_value_double(env_, value, &number) != napi_ok) {
    fail(Code::kWrongType, name, "a number", value);
  }
  return number;
}

double ArgumentReader::number(const char* name, double least, double most) {
  napi_value value = next();
  const double number = any_number(value, name);
  if (status_.ok() && !(number >= least && number <= most)) {
    const std::string finite = most == kMaxFloat ? "finite in float32" : "finite";
    fail(Code::kOutOfRange, name, least == 0 ? finite + " and not negative" : finite, value);
  }
  return number;
}

std::int64_t ArgumentReader::integer(const char* name, std::int64_t least, std::int64_t most) {
  return integer_at(index_++, name, least, most);
}

std::int64_t ArgumentReader::integer_at(std::size_t index, const char* name, std::int64_t least,
                                        std::int64_t most) {
  napi_value value = values_[index];
  const double number = any_number(value, name);
  const bool is_in_range =
      number >= static_cast<double>(least) && number <= static_cast<double>(most);
  if (status_.ok() && !(is_in_range && is_whole(number))) {
    fail(Code::kOutOfRange, name,
         "a whole number from " + std::to_string(least) + " to " + std::to_string(most), value);
  }
  return status_.ok() ? static_cast<std::int64_t>(number) : least;
}

bool ArgumentReader::integers(const char* name, std::size_t count, std::int64_t* numbers) {
  napi_value value = next();
  if (!status_.ok() || is_absent(env_, value)) return false;
  const std::string expected =
      "a Float64Array of " + std::to_string(count) + " whole numbers from 0 up";
  Memory memory;
  if (!read_memory(env_, value, false, &memory) || !memory.holds(DType::kFloat64)) {
    fail(Code::kWrongType, name, expected, value);
    return false;
  }
  bool fits = memory.length == static_cast<std::int64_t>(count);
  for (std::size_t i = 0; i < count && fits; ++i) {
    const double number = static_cast<const double*>(memory.data)[i];
    fits = number >= 0 && number <= static_cast<double>(kMaxSafeInteger) && is_whole(number);
    if (fits) numbers[i] = static_cast<std::int64_t>(number);
  }
  if (!fits) fail(Code::kOutOfRange, name, expected, value);
  return fits;
}

std::string ArgumentReader::text(const char* name) {
  napi_value value = next();
  if (!status_.ok()) return {};
  char text[64] = {};
  std::size_t length = 0;
  if (napi_get_value_string_utf8(env_, value, text, sizeof(text), &length) != napi_ok) {
    fail(Code::kWrongType, name, "a string", value);
  }
  return {text, length};
}

}  // namespace rmsnorm::napi
