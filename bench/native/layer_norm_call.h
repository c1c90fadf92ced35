#pragma once

#include <node_api.h>

namespace rmsnorm::bench {

// layerNorm(x, weight, bias, y, eps, threads, variant): LayerNorm of Float32Arrays on up to so many
// threads, called as RMSNorm is: whole, from JavaScript, into memory that is there already. x and y
// are of as many elements, weight and bias of those of a row; variant is the name of RMSNorm's,
// which this processor must have. Throws a TypeError for anything else.
napi_value layer_norm_function(napi_env env);

}  // namespace rmsnorm::bench
