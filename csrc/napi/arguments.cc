#include "arguments.h"

#include <cmath>

namespace rmsnorm::napi {

Status argument_error(napi_env env, Code code, const char* name, const std::string& expected,
                      napi_value actual) {
  return {code, std::string("The argument '") + name + "' must be " + expected + ". Received " +
                    describe(env, actual)};
}

Status length_error(const char* name, std::int64_t expected, std::int64_t actual) {
  return {Code::kOutOfRange,
          std::string("The argument '") + name + "' must have " + std::to_string(expected) +
              (expected == 1 ? " element" : " elements") + ". Received " + std::to_string(actual)};
}

Status Arguments::begin(napi_env env, napi_callback_info info) {
  env_ = env;
  std::size_t count = kMaxArguments;
  if (napi_get_cb_info(env, info, &count, values_, nullptr, nullptr) == napi_ok) return {};
  return {Code::kWrongType, "The arguments cannot be read"};
}

Status Arguments::wrong_type(std::size_t index, const char* name, const char* expected) const {
  return argument_error(env_, Code::kWrongType, name, expected, values_[index]);
}

Status Arguments::number(std::size_t index, const char* name, double* number) const {
  if (napi_get_value_double(env_, values_[index], number) == napi_ok) return {};
  return wrong_type(index, name, "a number");
}

Status Arguments::integer(std::size_t index, const char* name, std::int64_t min, std::int64_t max,
                          std::int64_t* integer) const {
  double number = 0;
  RMSNORM_TRY(this->number(index, name, &number));
  const bool is_in_range = number >= static_cast<double>(min) && number <= static_cast<double>(max);
  if (!is_in_range || number != std::floor(number)) {
    return argument_error(env_, Code::kOutOfRange, name,
                          "an integer from " + std::to_string(min) + " to " + std::to_string(max),
                          values_[index]);
  }
  *integer = static_cast<std::int64_t>(number);
  return {};
}

Status Arguments::boolean(std::size_t index, const char* name, bool* boolean) const {
  if (napi_get_value_bool(env_, values_[index], boolean) == napi_ok) return {};
  return wrong_type(index, name, "a boolean");
}

Status Arguments::pointer(std::size_t index, std::uint64_t* pointer) const {
  bool is_lossless = false;
  if (napi_get_value_bigint_uint64(env_, values_[index], pointer, &is_lossless) != napi_ok) {
    return wrong_type(index, "pointer", "a bigint");
  }
  if (is_lossless) return {};
  return {Code::kOutOfRange, "The argument 'pointer' must have at most 64 bits"};
}

Status Arguments::dtype(std::size_t index, DType* dtype) const {
  std::int64_t code = 0;
  RMSNORM_TRY(integer(index, "dtype", 0, static_cast<std::int64_t>(DType::kFloat8E5M2), &code));
  *dtype = static_cast<DType>(code);
  if (*dtype != DType::kFloat64) return {};
  return {Code::kOutOfRange, "The argument 'dtype' must be a dtype that GPU memory supports"};
}

Status Arguments::text(std::size_t index, const char* name, std::string* text) const {
  char buffer[64] = {};
  std::size_t length = 0;
  if (napi_get_value_string_utf8(env_, values_[index], buffer, sizeof(buffer), &length) !=
      napi_ok) {
    return wrong_type(index, name, "a string");
  }
  text->assign(buffer, length);
  return {};
}

Status Arguments::array(std::size_t index, const char* name, HostArray* array) const {
  DType dtype = DType::kFloat32;
  RMSNORM_TRY(this->dtype(index + 1, &dtype));
  if (read_host_array(env_, values_[index], dtype, array)) return {};
  return wrong_type(index, name, array_name(dtype));
}

}  // namespace rmsnorm::napi
