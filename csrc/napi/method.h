// Functions of C++ as JavaScript's.
#pragma once

#include <node_api.h>

#include <new>
#include <span>

#include "errors.h"

namespace rmsnorm::napi {

using Function = napi_value (*)(napi_env, napi_callback_info);

// A Node-API callback that lets no exception out, which would end the process.
template <Function function>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return function(env, info);
  } catch (const std::bad_alloc&) {
    return throw_status(env, out_of_memory());
  }
}

// Functions for napi_define_properties: each file of them ends with its table.
using Methods = std::span<const napi_property_descriptor>;

template <Function function>
constexpr napi_property_descriptor method(const char* name) {
  return {name,    nullptr, guarded<function>,       nullptr,
          nullptr, nullptr, napi_default_jsproperty, nullptr};
}

}  // namespace rmsnorm::napi
