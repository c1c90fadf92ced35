// ArrayBuffers over page-locked memory, which the driver allocated and must free.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../../cuda/runtime/allocation.h"
#include "../../op/status.h"

namespace rmsnorm::napi {

// Names an ArrayBuffer of make_external_array_buffer(). 0 names none.
using ExternalMemory = std::uintptr_t;

// An ArrayBuffer over all bytes of an allocation, which has at least one. The allocation lives
// until no ArrayBuffer refers to its memory any more, in any thread: JavaScript may transfer it.
//
// Errors: kInvalidState where the runtime refuses such an ArrayBuffer. No exception is pending
// then.
Status make_external_array_buffer(napi_env env, const cuda::AllocationPtr& allocation,
                                  napi_value* array_buffer, ExternalMemory* memory);

// Empties the ArrayBuffer and all views of it. Does nothing to one that is gone, or was
// transferred.
void detach_external_array_buffer(napi_env env, ExternalMemory memory);

}  // namespace rmsnorm::napi
