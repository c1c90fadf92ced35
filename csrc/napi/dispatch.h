// From a call's device to its backend.
#pragma once

#include "../cpu/backend.h"
#include "../cuda/backend.h"
#include "arguments.h"

namespace rmsnorm::napi {

inline Status run(const ForwardArgs& args, int device) {
  return device == kCpu ? cpu::forward(args) : cuda::forward(device, args);
}

inline Status run(const BackwardArgs& args, int device) {
  return device == kCpu ? cpu::backward(args) : cuda::backward(device, args);
}

}  // namespace rmsnorm::napi
