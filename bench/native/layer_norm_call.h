#pragma once

#include <node_api.h>

namespace rmsnorm::bench {

// layerNorm(x, weight, bias, y, eps, threads): LayerNorm of Float32Arrays on up to so many threads,
// called as RMSNorm is: whole, from JavaScript, into memory that is there already. x and y are of
// as many elements, weight and bias of those of a row. Throws a TypeError for anything else, and
// where the environment names a variant that this processor does not run.
napi_value layer_norm_function(napi_env env);

}  // namespace rmsnorm::bench
