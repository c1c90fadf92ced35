// A call of an operation: its record and its operands, read and checked. Every check that memory
// safety needs is here and in what this uses; lib/ has given better messages before.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../../cuda/runtime/stream.h"
#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "call_record.h"
#include "operands.h"

namespace rmsnorm::napi {

// Where a call runs: the CPU, or the CUDA device of an ordinal.
static constexpr int kCpu = -1;

struct Call {
  const Operation* operation;
  Shape shape;
  Options options;
  Quantization quantization;
  DType dtype;
  bool accumulate;
  int device;
  std::uint32_t given;             // bits of the operands that are arguments
  std::uint32_t made;              // bits of the outputs to be made
  cuda::StreamPtr stream;          // where the operands are on the device; else null
  Operand operands[kMaxOperands];  // those that are not wanted are not set

  std::uint32_t wanted() const { return given | made; }
  bool is_wanted(std::size_t index) const { return (wanted() & bit(index)) != 0; }

  // What of the operator's arguments an operand is.
  void* data(std::size_t index) const {
    return is_wanted(index) ? operands[index].data() : nullptr;
  }
  template <class Matrix>
  Matrix matrix(std::size_t index) const {
    return is_wanted(index) ? operands[index].as<Matrix>() : Matrix{};
  }
};

// How the operands of a call are read.
enum class CallKind { kNow, kLater };

// `values`: kMaxOperands operands, those of the operation first. A kLater call has memory of the
// host alone, no stream, and finds out which of it is shared. Errors: kWrongType, kOutOfRange,
// kInvalidValue; kDisposed, kCuda of operands on a device.
Status read_call(napi_env env, const Operation& operation, const CallRecord& record,
                 napi_value stream, const napi_value* values, CallKind kind, Call* call);

// Runs a call that has been read, or enqueues it.
Status run_forward(const Call& call);
Status run_backward(const Call& call);

}  // namespace rmsnorm::napi
