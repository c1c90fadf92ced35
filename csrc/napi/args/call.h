// A call of forward or backward, read from its record and operands, and checked. All checks that
// memory safety needs are in call.cc and the files that it uses. lib/ checks first, to give better
// messages.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../../cuda/runtime/stream.h"
#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "call_record.h"
#include "operands.h"

namespace rmsnorm::napi {

// Call::device for a call on the CPU. For a GPU it is the ordinal of the CUDA device.
static constexpr int kCpu = -1;

struct Call {
  const Operation* operation;
  Shape shape;
  Options options;
  Quantization quantization;
  DType dtype;
  bool accumulate;
  int device;
  std::uint32_t given;             // bits of the operands passed as arguments
  std::uint32_t made;              // bits of the outputs that the call allocates
  cuda::StreamPtr stream;          // null unless the operands are device memory
  Operand operands[kMaxOperands];  // unwanted ones are uninitialised

  std::uint32_t wanted() const { return given | made; }
  bool is_wanted(std::size_t index) const { return (wanted() & bit(index)) != 0; }

  // An operand as an argument of the operator; null or empty if it is not wanted.
  void* data(std::size_t index) const {
    return is_wanted(index) ? operands[index].data() : nullptr;
  }
  template <class Matrix>
  Matrix matrix(std::size_t index) const {
    return is_wanted(index) ? operands[index].as<Matrix>() : Matrix{};
  }
};

// When a call runs.
// - kNow: before the native call returns; on a stream, it is enqueued by then.
// - kLater: on a thread of libuv's pool.
enum class CallKind { kNow, kLater };

// Reads and checks a call. `values` has kMaxOperands values; the operation's operands come first. A
// kLater call takes host memory only and no stream, and sets Operand::is_shared. Errors:
// kWrongType, kOutOfRange, kInvalidValue; kDisposed and kCuda for operands on a device.
Status read_call(napi_env env, const Operation& operation, const CallRecord& record,
                 napi_value stream, const napi_value* values, CallKind kind, Call* call);

// Runs a call that read_call() accepted, or enqueues it if it has a stream.
Status run_forward(const Call& call);
Status run_backward(const Call& call);

}  // namespace rmsnorm::napi
