#pragma once

#include <napi.h>

// timeKernels(request, x, dy | null, weight, rstd, out, dweight): runs the kernels of a case on a
// device, on copies of these arrays, and a copy from device to device that reads and writes as many
// bytes, by turns. request: { ordinal, rows, hiddenSize, isBfloat16, rounds, batchMs, isTimed }.
//
// out and dweight are set to what the last launch has left. Returns { kernelMs, copyMs, sets,
// launches }: milliseconds of one run, a sample a round (empty unless isTimed), how many sets of
// buffers they went round, and how often the kernels ran; or null if the device has too little
// memory. Throws what the driver reports.
Napi::Value time_kernels(const Napi::CallbackInfo& info);
