// The operator's functions, as binding.d.ts declares them. The callback data is the call record.
// Plain Node-API callbacks: a call on a short row takes as long as reading its arguments does.
#pragma once

#include <node_api.h>

#include "../../op/status.h"

namespace rmsnorm::napi {

napi_value forward(napi_env env, napi_callback_info info);
napi_value backward(napi_env env, napi_callback_info info);
napi_value forward_async(napi_env env, napi_callback_info info);
napi_value backward_async(napi_env env, napi_callback_info info);

// Gives the functions and the tables that they are checked against to JavaScript. Errors:
// kInvalidState of an environment that is ending.
Status export_calls(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
