#include "arguments.h"

#include <cmath>
#include <limits>
#include <string_view>

namespace rmsnorm::napi {
namespace {

constexpr std::int64_t kCastOrderFloat = 4;
constexpr std::int64_t kAccumulate = 8;
constexpr std::int64_t kFreshFloat32 = 16;
constexpr std::int64_t kDevice = 32;  // times the ordinal plus 1
constexpr std::int64_t kMaxDevices = 1024;
constexpr float kMaxFloat = std::numeric_limits<float>::max();
constexpr std::int64_t kMaxSafeInteger = (std::int64_t{1} << 53) - 1;

const char* array_name(DType dtype) {
  return dtype == DType::kFloat32 ? "a Float32Array" : "a Uint16Array";
}

Status shape_of(const Array& x, std::int64_t hidden_size, Shape* shape) {
  if (x.length % hidden_size != 0) {
    return {Code::kOutOfRange, std::string("The argument '") + x.name +
                                   "' must hold whole rows of " + std::to_string(hidden_size) +
                                   " elements. Received " + std::to_string(x.length)};
  }
  *shape = {x.length / hidden_size, hidden_size};
  return {};
}

// The argument `format` of binding.d.ts, taken apart.
struct Format {
  DType dtype;
  CastOrder cast_order;
  bool accumulate;
  bool fresh_float32;
  int device;
};

// ERR_CUDA_ILLEGAL_ADDRESS of CUDA_ERROR_ILLEGAL_ADDRESS.
std::string cuda_code(const DriverError& error) {
  constexpr std::string_view kPrefix = "CUDA_ERROR_";
  const std::string_view name = error.name == nullptr ? "" : error.name;
  if (!name.starts_with(kPrefix)) return "ERR_CUDA_UNKNOWN";
  return "ERR_CUDA_" + std::string(name.substr(kPrefix.size()));
}

Format read_format(ArgumentReader& reader, std::size_t index) {
  const std::int64_t bits = reader.integer_at(index, "format", 0, kDevice * (kMaxDevices + 1) - 1);
  return {.dtype = reader.dtype(bits & 3),
          .cast_order = bits & kCastOrderFloat ? CastOrder::kFloat : CastOrder::kLlama,
          .accumulate = (bits & kAccumulate) != 0,
          .fresh_float32 = (bits & kFreshFloat32) != 0,
          .device = static_cast<int>(bits / kDevice) + kCpu};
}

Options read_options(ArgumentReader& reader, const Format& format) {
  Options options;
  options.eps = reader.number("eps", 0);
  options.weight_offset = reader.number("weightOffset", -kMaxFloat);
  options.cast_order = format.cast_order;
  return options;
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
      const bool whole = number == std::floor(number) && std::abs(number) <= kMaxSafeInteger;
      return whole ? std::to_string(static_cast<std::int64_t>(number)) : std::to_string(number);
    }
    case napi_object:
      break;
  }
  bool is_typed_array = false;
  napi_is_typedarray(env, value, &is_typed_array);
  return is_typed_array ? "another typed array" : "an object";
}

Status check_overlap(const Array& output, std::initializer_list<const Array*> others,
                     std::initializer_list<const Array*> may_equal) {
  const auto overlap = [](const Array& a, const Array& b) {
    const auto a_begin = reinterpret_cast<std::uintptr_t>(a.data);
    const auto b_begin = reinterpret_cast<std::uintptr_t>(b.data);
    return a.byte_length > 0 && b.byte_length > 0 &&
           a_begin < b_begin + static_cast<std::uintptr_t>(b.byte_length) &&
           b_begin < a_begin + static_cast<std::uintptr_t>(a.byte_length);
  };
  const auto error = [&](const Array& other, const char* how) {
    return Status(Code::kInvalidValue, std::string("The arrays '") + output.name + "' and '" +
                                           other.name + "' must not " + how);
  };
  for (const Array* other : others) {
    if (overlap(output, *other)) return error(*other, "overlap in memory");
  }
  for (const Array* other : may_equal) {
    const bool equal = output.data == other->data && output.byte_length == other->byte_length;
    if (!equal && overlap(output, *other)) {
      return error(*other, "overlap in memory unless they are the same");
    }
  }
  return {};
}

Status check_length(const Array& array, std::int64_t length) {
  if (!array.is_given() || array.length == length) return {};
  return {Code::kOutOfRange, std::string("The argument '") + array.name + "' must have " +
                                 std::to_string(length) + " elements. Received " +
                                 std::to_string(array.length)};
}

ArgumentReader::ArgumentReader(napi_env env, napi_callback_info info) : env_(env) {
  std::size_t count = kMaxArguments;  // those not passed are undefined
  if (napi_get_cb_info(env, info, &count, values_, nullptr, nullptr) != napi_ok) {
    status_ = {Code::kWrongType, "The arguments can not be read"};
  }
}

void ArgumentReader::fail(Code code, const char* name, const std::string& expected,
                          napi_value actual) {
  if (!status_.ok()) return;
  status_ = {code, std::string("The argument '") + name + "' must be " + expected + ". Received " +
                       describe(env_, actual)};
}

Array ArgumentReader::array(const char* name, DType dtype, Presence presence, bool also_float32) {
  Array array;
  array.name = name;
  array.dtype = dtype;
  napi_value value = next();
  if (!status_.ok()) return array;

  napi_typedarray_type kind = napi_int8_array;
  std::size_t length = 0;
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(env_, value, &kind, &length, &array.data,
                               find_shared_ ? &buffer : nullptr, nullptr) != napi_ok) {
    read_absent(value, presence, &array);
    return array;
  }
  if (also_float32 && kind == napi_float32_array) array.dtype = DType::kFloat32;
  if (kind != (array.dtype == DType::kFloat32 ? napi_float32_array : napi_uint16_array)) {
    fail(Code::kWrongType, name, array_name(array.dtype), value);
    return array;
  }
  array.value = value;
  array.length = static_cast<std::int64_t>(length);
  array.byte_length = array.length * element_size(array.dtype);
  if (find_shared_) {
    bool is_array_buffer = true;
    napi_is_arraybuffer(env_, buffer, &is_array_buffer);
    array.is_shared = !is_array_buffer;
  }
  return array;
}

void ArgumentReader::read_absent(napi_value value, Presence presence, Array* array) {
  const bool is_optional =
      presence == Presence::kOptional || presence == Presence::kOptionalOrFresh;
  const bool may_be_fresh =
      presence == Presence::kRequiredOrFresh || presence == Presence::kOptionalOrFresh;
  napi_valuetype type = napi_undefined;
  napi_typeof(env_, value, &type);
  if (is_optional && (type == napi_null || type == napi_undefined)) return;
  if (type == napi_boolean) napi_get_value_bool(env_, value, &array->is_fresh);
  if (may_be_fresh && array->is_fresh) return;
  fail(Code::kWrongType, array->name, array_name(array->dtype), value);
}

double ArgumentReader::any_number(napi_value value, const char* name) {
  double number = 0;
  if (status_.ok() && napi_get_value_double(env_, value, &number) != napi_ok) {
    fail(Code::kWrongType, name, "a number", value);
  }
  return number;
}

float ArgumentReader::number(const char* name, float least) {
  napi_value value = next();
  const double number = any_number(value, name);
  if (status_.ok() && !(number >= least && number <= kMaxFloat)) {
    fail(Code::kOutOfRange, name,
         least == 0 ? "finite in float32 and not negative" : "finite in float32", value);
  }
  return static_cast<float>(number);
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
  if (status_.ok() && !(is_in_range && number == std::floor(number))) {
    fail(Code::kOutOfRange, name,
         "a whole number from " + std::to_string(least) + " to " + std::to_string(most), value);
  }
  return status_.ok() ? static_cast<std::int64_t>(number) : least;
}

DType ArgumentReader::dtype(std::int64_t code) {
  if (code > 2 && status_.ok()) status_ = {Code::kOutOfRange, "The dtype must be 0, 1 or 2"};
  return status_.ok() ? static_cast<DType>(code) : DType::kFloat32;
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

Status read_forward(napi_env env, napi_callback_info info, bool is_async, ForwardCall* call) {
  ArgumentReader reader(env, info);
  if (is_async) reader.look_for_shared_memory();
  const Format format = read_format(reader, 7);
  call->x = reader.array("x", format.dtype, Presence::kRequired);
  call->weight = reader.array("weight", format.dtype, Presence::kOptional, true);
  call->y = reader.array("out", format.dtype,
                         is_async ? Presence::kRequiredOrFresh : Presence::kRequired);
  call->rstd = reader.array("rstdOut", DType::kFloat32,
                            is_async ? Presence::kOptionalOrFresh : Presence::kOptional);
  const std::int64_t hidden_size = reader.integer("hiddenSize", 1, kMaxSafeInteger);
  const Options options = read_options(reader, format);
  RMSNORM_TRY(reader.status());

  Shape shape;
  RMSNORM_TRY(shape_of(call->x, hidden_size, &shape));
  RMSNORM_TRY(check_length(call->weight, hidden_size));
  RMSNORM_TRY(check_length(call->y, call->x.length));
  RMSNORM_TRY(check_length(call->rstd, shape.rows));
  RMSNORM_TRY(check_overlap(call->y, {&call->weight, &call->rstd}, {&call->x}));
  RMSNORM_TRY(check_overlap(call->rstd, {&call->x, &call->weight}, {}));

  call->args = {.shape = shape,
                .options = options,
                .dtype = format.dtype,
                .x = {call->x.data, hidden_size},
                .weight = {call->weight.data, call->weight.dtype},
                .y = {call->y.data, hidden_size},
                .rstd = static_cast<float*>(call->rstd.data)};
  call->device = format.device;
  return {};
}

Status read_backward(napi_env env, napi_callback_info info, bool is_async, BackwardCall* call) {
  ArgumentReader reader(env, info);
  if (is_async) reader.look_for_shared_memory();
  const Format format = read_format(reader, 9);
  const Presence output = is_async ? Presence::kOptionalOrFresh : Presence::kOptional;
  call->dy = reader.array("dy", format.dtype, Presence::kRequired);
  call->x = reader.array("x", format.dtype, Presence::kRequired);
  call->weight = reader.array("weight", format.dtype, Presence::kOptional, true);
  call->rstd = reader.array("rstd", DType::kFloat32, Presence::kOptional);
  call->dx = reader.array("dxOut", format.dtype, output);
  call->dweight = reader.array("dweightOut", format.dtype, output, true);
  if (call->dweight.is_fresh && format.fresh_float32) call->dweight.dtype = DType::kFloat32;
  const std::int64_t hidden_size = reader.integer("hiddenSize", 1, kMaxSafeInteger);
  const Options options = read_options(reader, format);
  RMSNORM_TRY(reader.status());

  Shape shape;
  RMSNORM_TRY(shape_of(call->x, hidden_size, &shape));
  RMSNORM_TRY(check_length(call->dy, call->x.length));
  RMSNORM_TRY(check_length(call->weight, hidden_size));
  RMSNORM_TRY(check_length(call->rstd, shape.rows));
  RMSNORM_TRY(check_length(call->dx, call->x.length));
  RMSNORM_TRY(check_length(call->dweight, hidden_size));
  RMSNORM_TRY(
      check_overlap(call->dx, {&call->weight, &call->rstd, &call->dweight}, {&call->dy, &call->x}));
  RMSNORM_TRY(check_overlap(call->dweight, {&call->dy, &call->x, &call->weight, &call->rstd}, {}));

  call->args = {.shape = shape,
                .options = options,
                .dtype = format.dtype,
                .dy = {call->dy.data, hidden_size},
                .x = {call->x.data, hidden_size},
                .weight = {call->weight.data, call->weight.dtype},
                .rstd = static_cast<const float*>(call->rstd.data),
                .dx = {call->dx.data, hidden_size},
                .dweight = call->dweight.data,
                .dweight_dtype = call->dweight.dtype,
                .accumulate = format.accumulate};
  call->device = format.device;
  return {};
}

napi_value make_string(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.c_str(), text.size(), &value);
  return value;
}

napi_value make_error(napi_env env, const Status& status) {
  struct Kind {
    std::string code;
    napi_status (*create)(napi_env, napi_value, napi_value, napi_value*);
  };
  const DriverError& driver_error = status.driver_error();
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
        return {cuda_code(driver_error), napi_create_error};
      case Code::kOk:
        break;
    }
    return {"ERR_INTERNAL", napi_create_error};
  }();
  napi_value error = nullptr;
  kind.create(env, make_string(env, kind.code), make_string(env, status.message()), &error);
  if (driver_error.number != 0) {
    const auto set = [&](const char* name, const char* text) {
      napi_set_named_property(env, error, name, make_string(env, text == nullptr ? "" : text));
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

}  // namespace rmsnorm::napi
