// What the addon exports of GPUs.
#pragma once

#include <node_api.h>

namespace rmsnorm::napi {

// Gives the exports `devices` and `cuda` of binding.d.ts.
void export_gpu(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
