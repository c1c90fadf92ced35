// Where the memory of a call's operands is: on the host, or all of it on one device.
#pragma once

#include <node_api.h>

#include <initializer_list>

#include "../../cuda/runtime/stream.h"
#include "operands.h"

namespace rmsnorm::napi {

// The queue that a call on memory of a device is put into: that of the argument `stream`, or the
// device's default one. Null if the first operand is on the host. `ordinal`: of the device that the
// call names. Operands that are not given are passed over.
//
// Errors: kInvalidValue of operands, or a stream, of different places; kWrongType, kDisposed of the
// stream; kCuda.
Status read_place(napi_env env, napi_value stream, int ordinal,
                  std::initializer_list<const Operand*> operands, cuda::StreamPtr* queue);

// The allocation that an operand is in; null if it has none on a device.
const cuda::AllocationPtr& allocation_of(const Operand& operand);

}  // namespace rmsnorm::napi
