// Functions that tests need and JavaScript cannot provide. test/support/native-support.ts declares
// them.

#include <node_api.h>

#include <iterator>

#include "allocation_failures.h"
#include "floating_point_mode.h"

namespace rmsnorm::test {
namespace {

constexpr const char* kRoundings[] = {"nearest", "down", "up", "zero"};

// Reads up to `N` arguments as numbers. An argument that is not a number is 0.
template <std::size_t N>
void read_numbers(napi_env env, napi_callback_info info, std::int64_t (&numbers)[N]) {
  napi_value arguments[N];
  std::size_t count = N;
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  for (std::size_t i = 0; i < N; ++i) {
    numbers[i] = 0;
    napi_get_value_int64(env, arguments[i], &numbers[i]);
  }
}

napi_value fail_allocations_callback(napi_env env, napi_callback_info info) {
  std::int64_t numbers[2];
  read_numbers(env, info, numbers);
  if (!is_preloaded()) {
    napi_throw_error(env, nullptr, "Start Node.js with LD_PRELOAD=build/Release/rmsnorm_test.node");
  } else if (!fail_allocations(numbers[0], numbers[1])) {
    napi_throw_error(env, nullptr, "Load rmsnorm.node first");
  }
  return nullptr;
}

napi_value stop_failing_allocations_callback(napi_env env, napi_callback_info) {
  napi_value count = nullptr;
  napi_create_int64(env, stop_failing_allocations(), &count);
  return count;
}

napi_value floating_point_mode_callback(napi_env env, napi_callback_info) {
  const FloatingPointMode mode = floating_point_mode();
  napi_value result = nullptr, flush = nullptr, denormals = nullptr, rounding = nullptr;
  napi_create_object(env, &result);
  napi_get_boolean(env, mode.flush_to_zero, &flush);
  napi_get_boolean(env, mode.denormals_are_zero, &denormals);
  napi_create_string_utf8(env, kRoundings[mode.rounding], NAPI_AUTO_LENGTH, &rounding);
  napi_set_named_property(env, result, "flushToZero", flush);
  napi_set_named_property(env, result, "denormalsAreZero", denormals);
  napi_set_named_property(env, result, "rounding", rounding);
  return result;
}

// Arguments: two flags (0 or 1), and the index of a rounding in kRoundings.
napi_value set_floating_point_mode_callback(napi_env env, napi_callback_info info) {
  std::int64_t numbers[3];
  read_numbers(env, info, numbers);
  set_floating_point_mode(
      {numbers[0] != 0, numbers[1] != 0, static_cast<FloatingPointMode::Rounding>(numbers[2] & 3)});
  return nullptr;
}

napi_value init(napi_env env, napi_value exports) {
  constexpr auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{
        name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  };
  const napi_property_descriptor methods[] = {
      method("failAllocations", fail_allocations_callback),
      method("stopFailingAllocations", stop_failing_allocations_callback),
      method("floatingPointMode", floating_point_mode_callback),
      method("setFloatingPointMode", set_floating_point_mode_callback),
  };
  napi_define_properties(env, exports, std::size(methods), methods);
  return exports;
}

}  // namespace
}  // namespace rmsnorm::test

NAPI_MODULE_INIT() { return rmsnorm::test::init(env, exports); }
