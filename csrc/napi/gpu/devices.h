// What the CUDA devices are, as plain objects.
#pragma once

#include "../method.h"

namespace rmsnorm::napi {

// As binding.d.ts declares them.
extern const Methods kDeviceMethods;

}  // namespace rmsnorm::napi
