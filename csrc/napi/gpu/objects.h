// The functions over objects of GPUs, as one object.
#pragma once

#include <node_api.h>

namespace rmsnorm::napi {

// `cuda` of binding.d.ts.
napi_value make_objects(napi_env env);

}  // namespace rmsnorm::napi
