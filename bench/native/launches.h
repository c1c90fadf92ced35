#pragma once

#include <napi.h>

// timeLaunches(ordinal, hiddenSize, count): nanoseconds that the driver takes for what a planned
// forward of one row of float32 asks of it: to enter and leave the context, and `count` times to
// launch the kernel. For a driver that does not run it: its parameters are zeros. Throws what the
// driver reports.
Napi::Value time_launches(const Napi::CallbackInfo& info);
