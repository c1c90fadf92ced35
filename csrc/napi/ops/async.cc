// forwardAsync and backwardAsync: the calls of forward and backward, on a thread of libuv's pool.
//
// JavaScript runs meanwhile and can transfer or resize any ArrayBuffer. That moves or frees its
// memory, even while it is referenced. So only two kinds of memory are used in place:
// SharedArrayBuffers, whose memory does not move, and new buffers that JavaScript has not seen yet.
// All other inputs are copied when the call is made. Other outputs are computed in a copy, which is
// copied back at the end. If the output's array was detached or resized meanwhile, the promise
// rejects.

#include <napi.h>

#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "../../cpu/copy_rows.h"
#include "../../cpu/warm_memory.h"
#include "../args/call.h"
#include "../async_calls.h"
#include "../environment.h"
#include "../errors.h"
#include "../results.h"
#include "calls.h"

namespace rmsnorm::napi {
namespace {

// The rows of an operand, with strides in bytes.
ConstRows rows_in_bytes(const Operand& operand) {
  ConstRows rows = operand.as<ConstRows>();
  rows.row_stride *= operand.element_bytes();
  rows.batch_stride *= operand.element_bytes();
  return rows;
}

Status pack_rows(const Operand& operand, char* packed) {
  const auto copy = [&](std::int64_t packed_offset, std::int64_t strided_offset,
                        std::int64_t bytes) {
    std::memcpy(packed + packed_offset, operand.data() + strided_offset,
                static_cast<std::size_t>(bytes));
  };
  return cpu::copy_rows(rows_in_bytes(operand), operand.row_bytes(), 0, operand.row_count(), copy);
}

Status unpack_rows(const char* packed, const Operand& operand) {
  const auto copy = [&](std::int64_t packed_offset, std::int64_t strided_offset,
                        std::int64_t bytes) {
    std::memcpy(operand.data() + strided_offset, packed + packed_offset,
                static_cast<std::size_t>(bytes));
  };
  return cpu::copy_rows(rows_in_bytes(operand), operand.row_bytes(), 0, operand.row_count(), copy);
}

std::int64_t packed_bytes(const Operand& operand) {
  return operand.row_count() * operand.row_bytes();
}

// The memory of one operand of a call in flight.
class OperandInFlight {
 public:
  // Allocates the buffer of an output. Calls a JavaScript function (make_array_buffer()).
  Status make(napi_env env, const Operand& operand) {
    napi_value buffer = nullptr;
    RMSNORM_TRY(make_array_buffer(env, packed_bytes(operand), &buffer));
    made_ = Napi::Persistent(Napi::Object(env, buffer));
    return {};
  }

  // Keeps the operand's memory alive, or replaces it by contiguous memory for its rows. If the call
  // reads the operand (`is_read`), its elements are copied to that memory. end() copies outputs
  // back.
  Status begin(napi_env env, Operand* operand, bool is_read) {
    if (operand->value == nullptr) {
      void* data = nullptr;
      if (!read_array_buffer(env, made_.Value(), packed_bytes(*operand), &data)) {
        return {Code::kInvalidValue, "The arguments changed while they were read"};
      }
      operand->memory = static_cast<char*>(data);
      return {};
    }
    array_ = Napi::Persistent(Napi::Object(env, operand->value));
    if (operand->is_shared) return {};
    const std::int64_t bytes = packed_bytes(*operand);
    copy_ = cpu::acquire_warm_memory(bytes);
    if (copy_ == nullptr) {
      return {Code::kOutOfMemory, "Out of memory: cannot allocate " + std::to_string(bytes) +
                                      " bytes for a copy of '" + operand->rule->name + "'"};
    }
    if (operand->rule->is_output()) written_ = *operand;
    if (is_read) RMSNORM_TRY(pack_rows(*operand, copy_.get()));
    operand->memory = copy_.get();
    operand->pack(operand->row_count());
    return {};
  }

  // Copies an output back to its JavaScript array.
  Status end(napi_env env) {
    if (!written_) return {};
    void* data = nullptr;
    std::int64_t bytes = 0;
    if (!read_view(env, array_.Value(), &data, &bytes) ||
        bytes != written_->length * written_->element_bytes()) {
      return {Code::kInvalidValue, std::string("The array '") + written_->rule->name +
                                       "' was detached or resized before its result was ready"};
    }
    written_->memory = static_cast<char*>(data);
    return unpack_rows(copy_.get(), *written_);
  }

  // The ArrayBuffer that make() allocated, or null.
  napi_value made(napi_env env) const {
    return made_.IsEmpty() ? napi_value(Napi::Env(env).Null()) : napi_value(made_.Value());
  }

 private:
  std::optional<Operand> written_;  // an output with a copy: where its rows lie in its array
  cpu::WarmMemory copy_;
  Napi::ObjectReference array_;
  Napi::ObjectReference made_;
};

class CallInFlight final : public AsyncCall {
 public:
  CallInFlight(napi_env env, Status (*run)(const Call&)) : AsyncCall(env), run_(run) {}

  // Reads the arguments twice if it allocates outputs. Allocating may run JavaScript, after which
  // no pointer of the first reading is valid.
  Status begin(const Operation& operation, const CallRecord& record, const napi_value* values) {
    RMSNORM_TRY(read_call(env(), operation, record, nullptr, values, CallKind::kLater, &call_));
    for (std::size_t i = 0; i < operation.size(); ++i) {
      if (call_.made & bit(i)) RMSNORM_TRY(operands_[i].make(env(), call_.operands[i]));
    }
    if (call_.made != 0) {
      RMSNORM_TRY(read_call(env(), operation, record, nullptr, values, CallKind::kLater, &call_));
    }
    for (std::size_t i = 0; i < operation.size(); ++i) {
      if (!call_.is_wanted(i)) continue;
      const bool is_read = !operation[i].is_output() || call_.accumulate;
      RMSNORM_TRY(operands_[i].begin(env(), &call_.operands[i], is_read));
    }
    return {};
  }

 private:
  Status run() override { return run_(call_); }
  // A list with one entry for each operand: the output that the call allocated, or null.
  Status to_js(napi_value* result) override {
    std::vector<napi_value> made;
    for (std::size_t i = 0; i < call_.operation->size(); ++i) {
      RMSNORM_TRY(operands_[i].end(env()));
      made.push_back(operands_[i].made(env()));
    }
    *result = make_list(env(), made);
    return {};
  }

  Status (*run_)(const Call&);
  Call call_;
  OperandInFlight operands_[kMaxOperands];
};

// A wrong argument rejects the promise.
napi_value start(napi_env env, napi_callback_info info, const Operation& operation,
                 Status (*run)(const Call&)) {
  napi_value values[kMaxOperands];
  std::size_t count = std::size(values);
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  const CallRecord record = *static_cast<const CallRecord*>(data);
  Environment* environment = nullptr;
  napi_value promise = nullptr;
  Status status = Environment::of(env, &environment);
  if (status.ok()) status = environment->open_mailbox();
  auto in_flight = std::make_unique<CallInFlight>(env, run);
  if (status.ok()) status = in_flight->open(&promise);
  if (!status.ok()) return throw_status(env, status);
  try {
    status = in_flight->begin(operation, record, values);
  } catch (const Napi::Error&) {
    status = ending();
  } catch (const std::bad_alloc&) {
    status = out_of_memory();
  }
  if (status.ok()) {
    environment->async_calls().start(in_flight.release());
  } else {
    in_flight->settle(std::move(status));
  }
  return promise;
}

}  // namespace

napi_value forward_async(napi_env env, napi_callback_info info) {
  return start(env, info, kForward, run_forward);
}

napi_value backward_async(napi_env env, napi_callback_info info) {
  return start(env, info, kBackward, run_backward);
}

}  // namespace rmsnorm::napi
