// The exported functions: JavaScript's arguments in, the backend's status out.
#pragma once

#include <node_api.h>

namespace rmsnorm::napi {

// As binding.d.ts declares them. Plain Node-API callbacks: a call on a short row takes as long as
// reading its arguments does.
napi_value forward(napi_env env, napi_callback_info info);
napi_value backward(napi_env env, napi_callback_info info);
napi_value forward_async(napi_env env, napi_callback_info info);
napi_value backward_async(napi_env env, napi_callback_info info);
napi_value convert(napi_env env, napi_callback_info info);
napi_value advise_huge_pages(napi_env env, napi_callback_info info);
napi_value cpu_variants(napi_env env, napi_callback_info info);
napi_value cpu_variant(napi_env env, napi_callback_info info);
napi_value set_cpu_variant(napi_env env, napi_callback_info info);
napi_value num_threads(napi_env env, napi_callback_info info);
napi_value set_num_threads(napi_env env, napi_callback_info info);

}  // namespace rmsnorm::napi
