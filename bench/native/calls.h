#pragma once

#include <napi.h>

namespace rmsnorm::bench {

// timeLaunches(ordinal, hiddenSize, count): nanoseconds of the driver calls of `count` planned
// forwards of one float32 row: enter the context, launch the kernel, leave the context. Only for a
// driver that does not run the kernel, because its parameters are zeros. Throws the driver's error.
Napi::Value time_launches(const Napi::CallbackInfo& info);

// layerNorm(x, weight, bias, y, eps, threads, variant): LayerNorm of Float32Arrays on at most
// `threads` threads. Like RMSNorm it is one call from JavaScript and writes into existing memory. x
// and y have the same length, weight and bias the length of a row. `variant` names one of
// RMSNorm's, which this processor must support. Throws a TypeError for other arguments.
napi_value layer_norm_function(napi_env env);

}  // namespace rmsnorm::bench
