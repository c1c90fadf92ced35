// The asynchronous twins of forward and backward: the same call on a thread of libuv's pool.
//
// JavaScript runs meanwhile and can transfer or resize any ArrayBuffer, which moves or frees its
// memory even while it is referenced. So only memory of a SharedArrayBuffer, which stays where it
// is, and of buffers that nobody else has seen yet is used in place. All other inputs are copied at
// the call, and outputs are copied back at the end, if they are still there.

#include <napi.h>

#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "../args/arguments.h"
#include "../async_calls.h"
#include "../environment.h"
#include "../results.h"
#include "calls.h"
#include "dispatch.h"

namespace rmsnorm::napi {
namespace {

enum class Role { kInput, kOutput, kInputAndOutput };

// Copies rows between where they lie in their array and packed memory.
enum class Direction { kPack, kUnpack };

void copy_rows(Direction direction, const Operand& operand, char* strided, char* packed) {
  const auto copy = [direction](char* theirs, char* ours, std::int64_t bytes) {
    char* const to = direction == Direction::kPack ? ours : theirs;
    char* const from = direction == Direction::kPack ? theirs : ours;
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  };
  const std::int64_t row_bytes = operand.row_bytes();
  if (operand.is_packed()) return copy(strided, packed, operand.row_count() * row_bytes);
  const std::int64_t size = element_size(operand.array.dtype);
  for (std::int64_t batch = 0; batch < operand.batches.count; ++batch) {
    char* row = strided + batch * operand.batches.stride * size;
    for (std::int64_t i = 0; i < operand.rows.count; ++i) {
      copy(row, packed, row_bytes);
      row += operand.rows.stride * size;
      packed += row_bytes;
    }
  }
}

std::int64_t packed_bytes(const Operand& operand) {
  return operand.row_count() * operand.row_bytes();
}

// One array of a call in flight.
class ArrayInFlight {
 public:
  // Makes the buffer of a fresh array. Runs JavaScript's constructor.
  Status make_fresh(napi_env env, const Operand& operand) {
    if (!operand.array.is_fresh) return {};
    napi_value buffer = nullptr;
    RMSNORM_TRY(make_array_buffer(env, packed_bytes(operand), &buffer));
    fresh_ = Napi::Persistent(Napi::Object(env, buffer));
    return {};
  }

  // Holds on to the array's memory, or to a packed copy of what is used of it.
  Status begin(napi_env env, const Operand& operand, Role role) {
    operand_ = operand;
    const Array& array = operand.array;
    if (array.is_fresh) {
      if (read_array_buffer(env, fresh_.Value(), packed_bytes(operand), &data_)) return {};
      return {Code::kInvalidValue, "The arguments changed while they were read"};
    }
    if (!array.is_given()) return {};
    reference_ = Napi::Persistent(Napi::Object(env, array.value));
    if (array.memory.is_shared) {
      data_ = operand.data();
      return {};
    }
    copy_.reset(new (std::nothrow) char[static_cast<std::size_t>(packed_bytes(operand))]);
    if (copy_ == nullptr) {
      return {Code::kOutOfMemory, std::string("Out of memory: no room for '") + array.name + "', " +
                                      std::to_string(packed_bytes(operand)) + " bytes"};
    }
    data_ = copy_.get();
    copy_back_ = role != Role::kInput;
    if (role != Role::kOutput) {
      copy_rows(Direction::kPack, operand, static_cast<char*>(operand.data()), copy_.get());
    }
    return {};
  }

  // Gives an output back to JavaScript.
  Status end(napi_env env) {
    if (!copy_back_) return {};
    const Array& array = operand_.array;
    Memory now;
    if (!read_memory(env, reference_.Value(), false, &now) || !now.holds(array.dtype) ||
        now.length != array.memory.length) {
      return {Code::kInvalidValue, std::string("The array '") + array.name +
                                       "' was detached or resized before its result was ready"};
    }
    operand_.array.memory = now;
    copy_rows(Direction::kUnpack, operand_, static_cast<char*>(operand_.data()), copy_.get());
    return {};
  }

  void* data() const { return data_; }

  // As one of the operator's matrices, whose rows are packed in a copy.
  template <class Matrix>
  Matrix as() const {
    Matrix matrix = operand_.as<Matrix>();
    if (copy_ != nullptr) matrix = {nullptr, operand_.columns};
    matrix.data = data_;
    return matrix;
  }

  // The ArrayBuffer that was asked for, or null.
  napi_value fresh(napi_env env) const {
    return operand_.array.is_fresh ? napi_value(fresh_.Value()) : napi_value(Napi::Env(env).Null());
  }

 private:
  Operand operand_;
  void* data_ = nullptr;
  bool copy_back_ = false;
  std::unique_ptr<char[]> copy_;
  Napi::ObjectReference reference_;
  Napi::ObjectReference fresh_;
};

class ForwardInFlight final : public AsyncCall {
 public:
  using AsyncCall::AsyncCall;
  using Call = ForwardCall;

  static Status read(napi_env env, napi_callback_info info, Call* call) {
    return read_forward(env, info, true, call);
  }

  Status make_fresh(const Call& call) {
    RMSNORM_TRY(y_.make_fresh(env(), call.y));
    RMSNORM_TRY(rstd_.make_fresh(env(), call.rstd));
    return sum_.make_fresh(env(), call.sum);
  }

  Status begin(const Call& call) {
    args_ = call.args;
    device_ = call.device;
    RMSNORM_TRY(x_.begin(env(), call.x, Role::kInput));
    RMSNORM_TRY(weight_.begin(env(), call.weight, Role::kInput));
    RMSNORM_TRY(y_.begin(env(), call.y, Role::kOutput));
    RMSNORM_TRY(rstd_.begin(env(), call.rstd, Role::kOutput));
    RMSNORM_TRY(residual_.begin(env(), call.residual, Role::kInput));
    RMSNORM_TRY(sum_.begin(env(), call.sum, Role::kOutput));
    args_.x = x_.as<ConstRows>();
    args_.weight.data = weight_.data();
    args_.y = y_.as<Rows>();
    args_.rstd = rstd_.data();
    args_.residual = residual_.as<ConstRows>();
    args_.sum = sum_.as<Rows>();
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status finish(napi_value* result) override {
    RMSNORM_TRY(y_.end(env()));
    RMSNORM_TRY(rstd_.end(env()));
    RMSNORM_TRY(sum_.end(env()));
    *result =
        make_object(env(), {{"rows", make_number(env(), static_cast<double>(args_.shape.rows))},
                            {"y", y_.fresh(env())},
                            {"rstd", rstd_.fresh(env())},
                            {"sum", sum_.fresh(env())}});
    return {};
  }

  ForwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight x_, weight_, y_, rstd_, residual_, sum_;
};

class BackwardInFlight final : public AsyncCall {
 public:
  using AsyncCall::AsyncCall;
  using Call = BackwardCall;

  static Status read(napi_env env, napi_callback_info info, Call* call) {
    return read_backward(env, info, true, call);
  }

  Status make_fresh(const Call& call) {
    RMSNORM_TRY(dx_.make_fresh(env(), call.dx));
    return dweight_.make_fresh(env(), call.dweight);
  }

  Status begin(const Call& call) {
    args_ = call.args;
    device_ = call.device;
    const Role dweight_role = args_.accumulate ? Role::kInputAndOutput : Role::kOutput;
    RMSNORM_TRY(dy_.begin(env(), call.dy, Role::kInput));
    RMSNORM_TRY(x_.begin(env(), call.x, Role::kInput));
    RMSNORM_TRY(weight_.begin(env(), call.weight, Role::kInput));
    RMSNORM_TRY(rstd_.begin(env(), call.rstd, Role::kInput));
    RMSNORM_TRY(dx_.begin(env(), call.dx, Role::kOutput));
    RMSNORM_TRY(dweight_.begin(env(), call.dweight, dweight_role));
    RMSNORM_TRY(dsum_.begin(env(), call.dsum, Role::kInput));
    args_.dy = dy_.as<ConstRows>();
    args_.x = x_.as<ConstRows>();
    args_.weight.data = weight_.data();
    args_.rstd = rstd_.data();
    args_.dx = dx_.as<Rows>();
    args_.dweight = dweight_.data();
    args_.dsum = dsum_.as<ConstRows>();
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status finish(napi_value* result) override {
    RMSNORM_TRY(dx_.end(env()));
    RMSNORM_TRY(dweight_.end(env()));
    *result =
        make_object(env(), {{"rows", make_number(env(), static_cast<double>(args_.shape.rows))},
                            {"dx", dx_.fresh(env())},
                            {"dweight", dweight_.fresh(env())}});
    return {};
  }

  BackwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight dy_, x_, weight_, rstd_, dx_, dweight_, dsum_;
};

// Reads the arguments twice: making fresh arrays, whose sizes they tell, may run JavaScript, after
// which no pointer of the first reading is good.
template <class InFlight>
Status begin(napi_env env, napi_callback_info info, InFlight& in_flight) {
  typename InFlight::Call sizes;
  RMSNORM_TRY(InFlight::read(env, info, &sizes));
  RMSNORM_TRY(in_flight.make_fresh(sizes));
  typename InFlight::Call call;
  RMSNORM_TRY(InFlight::read(env, info, &call));
  return in_flight.begin(call);
}

// A wrong argument rejects the promise.
template <class InFlight>
napi_value start(napi_env env, napi_callback_info info) {
  Environment* environment = nullptr;
  napi_value promise = nullptr;
  Status status = Environment::of(env, &environment);
  if (status.ok()) status = environment->open_async_calls();
  auto in_flight = std::make_unique<InFlight>(env);
  if (status.ok()) status = in_flight->open(&promise);
  if (!status.ok()) return throw_status(env, status);
  try {
    status = begin(env, info, *in_flight);
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
  return start<ForwardInFlight>(env, info);
}

napi_value backward_async(napi_env env, napi_callback_info info) {
  return start<BackwardInFlight>(env, info);
}

}  // namespace rmsnorm::napi
