#pragma once

#include <napi.h>

namespace rmsnorm::bench {

// timeLaunches(ordinal, hiddenSize, count): nanoseconds that the driver takes for what a planned
// forward of one row of float32 asks of it: to enter and leave the context, and `count` times to
// launch the kernel. For a driver that does not run it: its parameters are zeros. Throws what the
// driver reports.
Napi::Value time_launches(const Napi::CallbackInfo& info);

// layerNorm(x, weight, bias, y, eps, threads, variant): LayerNorm of Float32Arrays on up to so many
// threads, called as RMSNorm is: whole, from JavaScript, into memory that is there already. x and y
// are of as many elements, weight and bias of those of a row; variant is the name of RMSNorm's,
// which this processor must have. Throws a TypeError for anything else.
napi_value layer_norm_function(napi_env env);

}  // namespace rmsnorm::bench
