#include "object_call.h"

#include <cmath>

namespace rmsnorm::napi {
namespace {

constexpr std::int64_t kMaxOrdinal = 1023;
constexpr auto kLastDType = static_cast<std::int64_t>(DType::kBFloat16);  // of those on devices

}  // namespace

Status argument_error(napi_env env, Code code, const char* name, const std::string& expected,
                      napi_value actual) {
  return {code, std::string("The argument '") + name + "' must be " + expected + ". Received " +
                    describe(env, actual)};
}

Status read_host_array(napi_env env, napi_value value, DType dtype, const char* name,
                       HostArray* array) {
  Memory memory;
  if (!read_memory(env, value, false, &memory) || !memory.holds(dtype)) {
    return argument_error(env, Code::kWrongType, name, array_name(dtype), value);
  }
  *array = {value, memory.data, dtype, memory.length};
  return {};
}

Status ObjectCall::begin(napi_env env, napi_callback_info info) {
  env_ = env;
  std::size_t count = kMaxArguments;  // those not passed are undefined
  if (napi_get_cb_info(env, info, &count, arguments_, nullptr, nullptr) != napi_ok) {
    return {Code::kWrongType, "The arguments can not be read"};
  }
  RMSNORM_TRY(Environment::of(env, &environment_));
  return environment_->open_promises();
}

Status ObjectCall::wrong_type(std::size_t index, const char* name, const char* expected) const {
  return argument_error(env_, Code::kWrongType, name, expected, arguments_[index]);
}

Status ObjectCall::number(std::size_t index, const char* name, double* number) {
  if (napi_get_value_double(env_, arguments_[index], number) == napi_ok) return {};
  return wrong_type(index, name, "a number");
}

Status ObjectCall::integer(std::size_t index, const char* name, std::int64_t most,
                           std::int64_t* integer) {
  double number = 0;
  RMSNORM_TRY(this->number(index, name, &number));
  if (!(number >= 0 && number <= static_cast<double>(most)) || number != std::floor(number)) {
    return argument_error(env_, Code::kOutOfRange, name,
                          "a whole number from 0 to " + std::to_string(most), arguments_[index]);
  }
  *integer = static_cast<std::int64_t>(number);
  return {};
}

Status ObjectCall::boolean(std::size_t index, const char* name, bool* boolean) {
  if (napi_get_value_bool(env_, arguments_[index], boolean) == napi_ok) return {};
  return wrong_type(index, name, "a boolean");
}

Status ObjectCall::pointer(std::size_t index, std::uint64_t* pointer) {
  bool is_lossless = false;
  if (napi_get_value_bigint_uint64(env_, arguments_[index], pointer, &is_lossless) != napi_ok) {
    return wrong_type(index, "pointer", "a bigint");
  }
  if (is_lossless) return {};
  return {Code::kOutOfRange, "The argument 'pointer' must have at most 64 bits"};
}

Status ObjectCall::dtype(std::size_t index, DType* dtype) {
  std::int64_t code = 0;
  RMSNORM_TRY(integer(index, "dtype", kLastDType, &code));
  *dtype = static_cast<DType>(code);
  return {};
}

Status ObjectCall::device(std::size_t index, cuda::Device** device) {
  std::int64_t ordinal = 0;
  RMSNORM_TRY(integer(index, "device", kMaxOrdinal, &ordinal));
  return cuda::find_device(static_cast<int>(ordinal), device);
}

Status ObjectCall::array(std::size_t index, const char* name, HostArray* array) {
  DType dtype = DType::kFloat32;
  RMSNORM_TRY(this->dtype(index + 1, &dtype));
  return read_host_array(env_, arguments_[index], dtype, name, array);
}

}  // namespace rmsnorm::napi
