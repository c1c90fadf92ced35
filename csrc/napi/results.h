// Turns C++ values into JavaScript values. Objects and lists are made by defining own properties,
// so that no setter of a prototype runs or throws.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "../op/status.h"

namespace rmsnorm::napi {

// The name of the addon's asynchronous work in node:async_hooks.
inline constexpr const char* kResourceName = "fused-rmsnorm";

napi_value make_string(napi_env env, std::string_view text);
napi_value make_number(napi_env env, double number);

// A property of an object. `name` ends with a NUL.
struct Property {
  const char* name;
  napi_value value;
};
napi_value make_object(napi_env env, std::initializer_list<Property> properties);
void set_own(napi_env env, napi_value object, Property property);
napi_value make_list(napi_env env, const std::vector<napi_value>& values);

// A new ArrayBuffer for a result that overwrites all of it. From 64 KiB up the buffer is not zeroed
// if the environment has `Buffer`, because zeroing would block the JavaScript thread. Asks for huge
// pages. Calls JavaScript functions as they were when the addon was loaded. Errors: kOutOfMemory;
// kInvalidState if the environment is ending.
Status make_array_buffer(napi_env env, std::int64_t bytes, napi_value* buffer);

}  // namespace rmsnorm::napi
