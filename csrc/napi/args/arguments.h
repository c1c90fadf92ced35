// The arguments of the exported functions, read and checked: every check that memory safety needs
// is here and in what this uses; lib/ has given better messages before.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "../../cuda/runtime/stream.h"
#include "../../op/rms_norm.h"
#include "../../op/status.h"
#include "../errors.h"
#include "../values.h"
#include "operands.h"

namespace rmsnorm::napi {

// Where a call runs: the CPU, or the CUDA device of an ordinal.
static constexpr int kCpu = -1;

// The argument `format` of binding.d.ts, taken apart.
struct Format {
  DType dtype;
  CastOrder cast_order;
  bool accumulate;
  bool fresh_float32;
  int device;
};

// What a call is told besides its arrays.
struct Setting {
  Shape shape;
  Options options;
  Format format;
};

struct ForwardCall {
  Operand x, weight, y, rstd, residual, sum;
  ForwardArgs args;  // pointers of arrays that are fresh are null
  int device;
  cuda::StreamPtr queue;  // where the operands are on the device; else null
};
struct BackwardCall {
  Operand dy, x, weight, rstd, dx, dweight, dsum;
  BackwardArgs args;
  int device;
  cuda::StreamPtr queue;
};

// The arguments of binding.d.ts's forward and backward, and of their asynchronous twins. Checked:
// kinds, lengths, layouts, ranges and overlaps.
Status read_forward(napi_env env, napi_callback_info info, bool is_async, ForwardCall* call);
Status read_backward(napi_env env, napi_callback_info info, bool is_async, BackwardCall* call);

// Finds out call->queue (place.h) from where its operands are. `stream`: null or any value.
Status read_place(napi_env env, napi_value stream, int ordinal, ForwardCall* call);
Status read_place(napi_env env, napi_value stream, int ordinal, BackwardCall* call);

// The arguments of createPlan but for the weight: rows, hiddenSize, eps, weightOffset and format.
Status read_setting(ArgumentReader& reader, Setting* setting);

// The arrays that a plan's functions take. The weight is the plan's.
Status read_planned_forward(ArgumentReader& reader, const Setting& setting, ForwardCall* call);
Status read_planned_backward(ArgumentReader& reader, const Setting& setting, BackwardCall* call);

}  // namespace rmsnorm::napi
