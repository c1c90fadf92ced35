// The asynchronous twins of forward and backward: the same call on a thread of libuv's pool.
//
// JavaScript runs meanwhile and can transfer or resize any ArrayBuffer, which moves or frees its
// memory even while it is referenced. So only memory of a SharedArrayBuffer, which stays where it
// is, and of buffers that nobody else has seen yet is used in place. All other inputs are copied at
// the call, and outputs are copied back at the end, if they are still there.

#include <napi.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>

#include "arguments.h"
#include "calls.h"
#include "dispatch.h"
#include "output_memory.h"

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

// One array of a call in flight.
class ArrayInFlight {
 public:
  // Holds on to the array's memory, or to a packed copy of what is used of it.
  Status begin(Napi::Env env, const Operand& operand, Role role) {
    operand_ = operand;
    const Array& array = operand.array;
    if (array.is_fresh) return begin_fresh(env);
    if (!array.is_given()) return {};
    reference_ = Napi::Persistent(Napi::Object(env, array.value));
    if (array.memory.is_shared) {
      data_ = operand.data();
      return {};
    }
    copy_.reset(new (std::nothrow) char[static_cast<std::size_t>(packed_bytes())]);
    if (copy_ == nullptr) return out_of_memory();
    data_ = copy_.get();
    copy_back_ = role != Role::kInput;
    if (role != Role::kOutput) {
      copy_rows(Direction::kPack, operand, static_cast<char*>(operand.data()), copy_.get());
    }
    return {};
  }

  // Gives an output back to JavaScript.
  Status end(Napi::Env env) {
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
  Napi::Value fresh(Napi::Env env) const {
    return operand_.array.is_fresh ? Napi::Value(reference_.Value()) : env.Null();
  }

 private:
  Status begin_fresh(Napi::Env env) {
    napi_value buffer = nullptr;
    if (!make_output(env, packed_bytes(), &buffer, &data_).ok()) return out_of_memory();
    reference_ = Napi::Persistent(Napi::Object(env, buffer));
    return {};
  }

  std::int64_t packed_bytes() const { return operand_.row_count() * operand_.row_bytes(); }
  Status out_of_memory() const {
    return {Code::kOutOfMemory, std::string("Out of memory: no room for '") + operand_.array.name +
                                    "', " + std::to_string(packed_bytes()) + " bytes"};
  }

  Operand operand_;
  void* data_ = nullptr;
  bool copy_back_ = false;
  std::unique_ptr<char[]> copy_;
  Napi::ObjectReference reference_;
};

// Settles its promise when the derived class's run() is through.
class CallInFlight : public Napi::AsyncWorker {
 public:
  explicit CallInFlight(Napi::Env env) : AsyncWorker(env, "fused-rmsnorm"), deferred_(env) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual Status run() = 0;
  virtual Status end(Napi::Env env) = 0;
  virtual Napi::Array result(Napi::Env env) = 0;

 private:
  void Execute() override { status_ = run(); }

  void OnOK() override {
    const Napi::Env env = Env();
    if (status_.ok()) status_ = end(env);
    if (status_.ok()) {
      deferred_.Resolve(result(env));
    } else {
      deferred_.Reject(make_error(env, status_));
    }
  }

  Napi::Promise::Deferred deferred_;
  Status status_;
};

Napi::Array array_of(Napi::Env env, std::initializer_list<Napi::Value> values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  std::uint32_t index = 0;
  for (const Napi::Value& value : values) array.Set(index++, value);
  return array;
}

class ForwardInFlight final : public CallInFlight {
 public:
  using CallInFlight::CallInFlight;

  Status begin(Napi::Env env, const ForwardCall& call) {
    args_ = call.args;
    device_ = call.device;
    RMSNORM_TRY(x_.begin(env, call.x, Role::kInput));
    RMSNORM_TRY(weight_.begin(env, call.weight, Role::kInput));
    RMSNORM_TRY(y_.begin(env, call.y, Role::kOutput));
    RMSNORM_TRY(rstd_.begin(env, call.rstd, Role::kOutput));
    RMSNORM_TRY(residual_.begin(env, call.residual, Role::kInput));
    RMSNORM_TRY(residual_out_.begin(env, call.residual_out, Role::kOutput));
    args_.x = x_.as<ConstRows>();
    args_.weight.data = weight_.data();
    args_.y = y_.as<Rows>();
    args_.rstd = rstd_.data();
    args_.residual = residual_.as<ConstRows>();
    args_.residual_out = residual_out_.as<Rows>();
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status end(Napi::Env env) override {
    RMSNORM_TRY(y_.end(env));
    RMSNORM_TRY(rstd_.end(env));
    return residual_out_.end(env);
  }
  Napi::Array result(Napi::Env env) override {
    return array_of(env, {y_.fresh(env), rstd_.fresh(env), residual_out_.fresh(env)});
  }

  ForwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight x_, weight_, y_, rstd_, residual_, residual_out_;
};

class BackwardInFlight final : public CallInFlight {
 public:
  using CallInFlight::CallInFlight;

  Status begin(Napi::Env env, const BackwardCall& call) {
    args_ = call.args;
    device_ = call.device;
    const Role dweight_role = args_.accumulate ? Role::kInputAndOutput : Role::kOutput;
    RMSNORM_TRY(dy_.begin(env, call.dy, Role::kInput));
    RMSNORM_TRY(x_.begin(env, call.x, Role::kInput));
    RMSNORM_TRY(weight_.begin(env, call.weight, Role::kInput));
    RMSNORM_TRY(rstd_.begin(env, call.rstd, Role::kInput));
    RMSNORM_TRY(dx_.begin(env, call.dx, Role::kOutput));
    RMSNORM_TRY(dweight_.begin(env, call.dweight, dweight_role));
    RMSNORM_TRY(dresidual_out_.begin(env, call.dresidual_out, Role::kInput));
    args_.dy = dy_.as<ConstRows>();
    args_.x = x_.as<ConstRows>();
    args_.weight.data = weight_.data();
    args_.rstd = rstd_.data();
    args_.dx = dx_.as<Rows>();
    args_.dweight = dweight_.data();
    args_.dresidual_out = dresidual_out_.as<ConstRows>();
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status end(Napi::Env env) override {
    RMSNORM_TRY(dx_.end(env));
    return dweight_.end(env);
  }
  Napi::Array result(Napi::Env env) override {
    return array_of(env, {dx_.fresh(env), dweight_.fresh(env)});
  }

  BackwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight dy_, x_, weight_, rstd_, dx_, dweight_, dresidual_out_;
};

// Starts a call whose arguments have been read, and returns its promise.
template <class InFlight, class Call>
napi_value start(napi_env env, const Status& read, const Call& call) {
  if (!read.ok()) return throw_status(env, read);
  try {
    auto in_flight = std::make_unique<InFlight>(env);
    if (const Status status = in_flight->begin(env, call); !status.ok()) {
      return throw_status(env, status);
    }
    const Napi::Promise promise = in_flight->promise();
    in_flight.release()->Queue();  // deletes itself when it has settled
    return promise;
  } catch (const Napi::Error& error) {  // an environment that is ending
    error.ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    return throw_status(env, {Code::kOutOfMemory, "Out of memory"});
  }
  return nullptr;
}

}  // namespace

napi_value forward_async(napi_env env, napi_callback_info info) {
  ForwardCall call;
  const Status read = read_forward(env, info, true, &call);
  return start<ForwardInFlight>(env, read, call);
}

napi_value backward_async(napi_env env, napi_callback_info info) {
  BackwardCall call;
  const Status read = read_backward(env, info, true, &call);
  return start<BackwardInFlight>(env, read, call);
}

}  // namespace rmsnorm::napi
