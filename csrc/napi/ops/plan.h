// Plans: calls of one shape, of which all but the arrays is checked once.
#pragma once

#include <node_api.h>

namespace rmsnorm::napi {

// As binding.d.ts declares it.
napi_value create_plan(napi_env env, napi_callback_info info);

}  // namespace rmsnorm::napi
