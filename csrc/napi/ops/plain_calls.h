// The short way of calls on plain arrays.
#pragma once

#include <node_api.h>

namespace rmsnorm::napi {

// As binding.d.ts declares them. Half of the time of forward on a short row is spent on finding out
// of what kind each array is: these do not, and JavaScript, which knows, says so by calling them.
napi_value plain_forward(napi_env env, napi_callback_info info);
napi_value plain_backward(napi_env env, napi_callback_info info);

}  // namespace rmsnorm::napi
