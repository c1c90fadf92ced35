// Memory of results that are new ArrayBuffers.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../status.h"

namespace rmsnorm::napi {

// From here up malloc maps new memory for every ArrayBuffer, and one over memory that has been used
// before costs less, though it takes Node-API some microseconds.
static constexpr std::int64_t kLeastRecycledBytes = 128 << 10;

// A new ArrayBuffer of `bytes` and its memory, which holds anything: whoever shows it to a program
// has to write all of it before. Errors: kOutOfMemory.
Status make_output(napi_env env, std::int64_t bytes, napi_value* buffer, void** data);

// Gives memory that waits for the next output back to the system.
void release_outputs();

}  // namespace rmsnorm::napi
