#include "results.h"

#include <string>

#include "../os/platform.h"
#include "environment.h"
#include "values.h"

namespace rmsnorm::napi {
namespace {

constexpr auto kOwn =
    static_cast<napi_property_attributes>(napi_writable | napi_enumerable | napi_configurable);

// Buffers of fewer bytes are zeroed, because for them that is as fast.
constexpr std::int64_t kMinUninitialisedBytes = 64 << 10;

void clear_exception(napi_env env) {
  napi_value exception = nullptr;
  napi_get_and_clear_last_exception(env, &exception);
}

// Allocates with `Buffer.allocUnsafeSlow`, which does not zero the memory. False if the function
// does not exist or there is no memory.
bool make_uninitialised_buffer(const Environment& environment, napi_value length,
                               napi_value* buffer) {
  napi_env env = environment.env();
  napi_value allocate = environment.alloc_unsafe_slow();
  napi_value global = nullptr;
  napi_value view = nullptr;
  napi_get_global(env, &global);
  if (allocate == nullptr) return false;
  if (napi_call_function(env, global, allocate, 1, &length, &view) == napi_ok &&
      napi_get_typedarray_info(env, view, nullptr, nullptr, nullptr, buffer, nullptr) == napi_ok) {
    return true;
  }
  clear_exception(env);
  return false;
}

}  // namespace

napi_value make_string(napi_env env, std::string_view text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value make_number(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

void set_own(napi_env env, napi_value object, Property property) {
  const napi_property_descriptor descriptor{property.name, nullptr,        nullptr, nullptr,
                                            nullptr,       property.value, kOwn,    nullptr};
  napi_define_properties(env, object, 1, &descriptor);
}

napi_value make_object(napi_env env, std::initializer_list<Property> properties) {
  napi_value object = nullptr;
  napi_create_object(env, &object);
  for (const Property& property : properties) set_own(env, object, property);
  return object;
}

napi_value make_list(napi_env env, const std::vector<napi_value>& values) {
  napi_value list = nullptr;
  napi_create_array_with_length(env, values.size(), &list);
  for (std::size_t i = 0; i < values.size(); ++i) {
    set_own(env, list, {std::to_string(i).c_str(), values[i]});
  }
  return list;
}

// Does not use napi_create_arraybuffer, which ends the process if there is no memory.
Status make_array_buffer(napi_env env, std::int64_t bytes, napi_value* buffer) {
  Environment* environment = nullptr;
  RMSNORM_TRY(Environment::of(env, &environment));
  napi_value length = make_number(env, static_cast<double>(bytes));
  void* data = nullptr;
  const bool is_made =
      (bytes >= kMinUninitialisedBytes &&
       make_uninitialised_buffer(*environment, length, buffer)) ||
      napi_new_instance(env, environment->array_buffer_class(), 1, &length, buffer) == napi_ok;
  if (!is_made || !read_array_buffer(env, *buffer, bytes, &data)) {
    clear_exception(env);
    return {Code::kOutOfMemory,
            "Out of memory: cannot allocate " + std::to_string(bytes) + " bytes"};
  }
  advise_huge_pages(data, bytes);
  return {};
}

}  // namespace rmsnorm::napi
