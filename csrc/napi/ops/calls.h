// What the addon exports but for GPUs.
#pragma once

#include <node_api.h>

#include "../../op/status.h"
#include "../arguments.h"

namespace rmsnorm::napi {

// The asynchronous twins of forward and backward. The callback data is the call record.
napi_value forward_async(napi_env env, napi_callback_info info);
napi_value backward_async(napi_env env, napi_callback_info info);

// Functions beside the operator: conversions, huge pages, variants and threads of the CPU.
extern const Methods kTools;

// Gives all of these, the operator's functions and the tables that they are checked against to
// JavaScript. Errors: kInvalidState of an environment that is ending.
Status export_calls(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
