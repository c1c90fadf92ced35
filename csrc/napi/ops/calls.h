// The exports that are not about GPUs.
#pragma once

#include <node_api.h>

#include "../../op/status.h"
#include "../arguments.h"

namespace rmsnorm::napi {

// Asynchronous forward and backward. The callback data is the call record.
napi_value forward_async(napi_env env, napi_callback_info info);
napi_value backward_async(napi_env env, napi_callback_info info);

// The other functions: conversions, huge pages, CPU variants and threads.
extern const Methods kTools;

// Exports these functions, forward and backward, and the tables that a test compares with lib/'s.
// Errors: kInvalidState if the environment is ending.
Status export_calls(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
