// The exports that are not about GPUs.
#pragma once

#include <node_api.h>

#include "../../op/status.h"
#include "../arguments.h"

namespace rmsnorm::napi {

// Asynchronous forward and backward. The callback data is the call record.
napi_value forward_async(napi_env env, napi_callback_info info);
napi_value backward_async(napi_env env, napi_callback_info info);

// The other functions: conversions, huge pages, CPU variants and thread counts.
extern const Methods kTools;

// Exports the functions above, forward, backward, the call record with the names of its fields, and
// the tables of operands, which a test compares with lib/'s. Errors: kInvalidState if the
// environment is ending.
Status export_calls(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
