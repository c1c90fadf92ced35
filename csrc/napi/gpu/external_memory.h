// ArrayBuffers over page-locked memory, which the driver allocated and must free.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../../cuda/runtime/allocation.h"
#include "../../op/status.h"

namespace rmsnorm::napi {

// Identifies an ArrayBuffer of make_external_array_buffer(); 0 stands for no ArrayBuffer.
using ExternalMemory = std::uintptr_t;

// Makes an ArrayBuffer over all bytes of an allocation, which must have at least one byte.
// JavaScript may transfer the memory to another ArrayBuffer. So the allocation lives at least until
// no ArrayBuffer in any thread refers to its memory.
//
// Errors: kInvalidState if the runtime refuses such an ArrayBuffer; no exception is pending then.
Status make_external_array_buffer(napi_env env, const cuda::AllocationPtr& allocation,
                                  napi_value* array_buffer, ExternalMemory* memory);

// Detaches the ArrayBuffer, which empties all views of it. Does nothing if it was collected or
// transferred.
void detach_external_array_buffer(napi_env env, ExternalMemory memory);

}  // namespace rmsnorm::napi
