// Functions beside the operator: conversions, huge pages, variants and threads of the CPU.
#pragma once

#include "../method.h"

namespace rmsnorm::napi {

extern const Methods kTools;

}  // namespace rmsnorm::napi
