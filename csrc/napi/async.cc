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

#include "arguments.h"
#include "calls.h"
#include "dispatch.h"

namespace rmsnorm::napi {
namespace {

enum class Role { kInput, kOutput, kInputAndOutput };

// One array of a call in flight.
class ArrayInFlight {
 public:
  // Holds on to the array's memory, or to a copy. `fresh_length`: elements of an array to be made.
  Status begin(Napi::Env env, const Array& array, Role role, std::int64_t fresh_length) {
    name_ = array.name;
    byte_length_ = array.is_fresh ? fresh_length * element_size(array.dtype) : array.byte_length;
    if (array.is_fresh) return begin_fresh(env);
    if (!array.is_given()) return {};
    reference_ = Napi::Persistent(Napi::Object(env, array.value));
    if (array.is_shared) {
      data_ = array.data;
      return {};
    }
    copy_.reset(new (std::nothrow) char[static_cast<std::size_t>(byte_length_)]);
    if (copy_ == nullptr) return out_of_memory();
    data_ = copy_.get();
    copy_back_ = role != Role::kInput;
    if (role != Role::kOutput) copy_bytes(data_, array.data);
    return {};
  }

  // Gives an output back to JavaScript.
  Status end(Napi::Env env) {
    if (!copy_back_) return {};
    std::size_t length = 0;
    void* destination = nullptr;
    napi_typedarray_type kind = napi_int8_array;
    if (napi_get_typedarray_info(env, reference_.Value(), &kind, &length, &destination, nullptr,
                                 nullptr) != napi_ok ||
        static_cast<std::int64_t>(length) * (kind == napi_float32_array ? 4 : 2) != byte_length_) {
      return {Code::kInvalidValue, std::string("The array '") + name_ +
                                       "' was detached or resized before its result was ready"};
    }
    copy_bytes(destination, copy_.get());
    return {};
  }

  void* data() const { return data_; }

  // The ArrayBuffer that was asked for, or null.
  Napi::Value fresh(Napi::Env env) const {
    return is_fresh_ ? Napi::Value(reference_.Value()) : env.Null();
  }

 private:
  // By JavaScript's constructor, which throws where Node-API's function would end the process.
  Status begin_fresh(Napi::Env env) {
    try {
      const Napi::Value constructor = env.Global().Get("ArrayBuffer");
      if (!constructor.IsFunction()) return out_of_memory();
      const Napi::Value length = Napi::Number::New(env, static_cast<double>(byte_length_));
      const Napi::Value made = constructor.As<Napi::Function>().New({length});
      if (!made.IsArrayBuffer()) return out_of_memory();
      Napi::ArrayBuffer buffer = made.As<Napi::ArrayBuffer>();
      if (buffer.ByteLength() != static_cast<std::size_t>(byte_length_)) return out_of_memory();
      data_ = buffer.Data();
      is_fresh_ = true;
      reference_ = Napi::Persistent(Napi::Object(env, buffer));
      return {};
    } catch (const Napi::Error&) {
      return out_of_memory();
    }
  }

  Status out_of_memory() const {
    return {Code::kOutOfMemory, std::string("Out of memory: no room for '") + name_ + "', " +
                                    std::to_string(byte_length_) + " bytes"};
  }
  void copy_bytes(void* to, const void* from) const {
    if (byte_length_ > 0) std::memcpy(to, from, static_cast<std::size_t>(byte_length_));
  }

  const char* name_ = "";
  void* data_ = nullptr;
  std::int64_t byte_length_ = 0;
  bool is_fresh_ = false;
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

Napi::Array pair_of(Napi::Env env, Napi::Value first, Napi::Value second) {
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, first);
  pair.Set(1u, second);
  return pair;
}

class ForwardInFlight final : public CallInFlight {
 public:
  using CallInFlight::CallInFlight;

  Status begin(Napi::Env env, const ForwardCall& call) {
    args_ = call.args;
    device_ = call.device;
    RMSNORM_TRY(x_.begin(env, call.x, Role::kInput, 0));
    RMSNORM_TRY(weight_.begin(env, call.weight, Role::kInput, 0));
    RMSNORM_TRY(y_.begin(env, call.y, Role::kOutput, call.x.length));
    RMSNORM_TRY(rstd_.begin(env, call.rstd, Role::kOutput, args_.shape.rows));
    args_.x.data = x_.data();
    args_.weight.data = weight_.data();
    args_.y.data = y_.data();
    args_.rstd = static_cast<float*>(rstd_.data());
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status end(Napi::Env env) override {
    RMSNORM_TRY(y_.end(env));
    return rstd_.end(env);
  }
  Napi::Array result(Napi::Env env) override {
    return pair_of(env, y_.fresh(env), rstd_.fresh(env));
  }

  ForwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight x_, weight_, y_, rstd_;
};

class BackwardInFlight final : public CallInFlight {
 public:
  using CallInFlight::CallInFlight;

  Status begin(Napi::Env env, const BackwardCall& call) {
    args_ = call.args;
    device_ = call.device;
    const Role dweight_role = args_.accumulate ? Role::kInputAndOutput : Role::kOutput;
    RMSNORM_TRY(dy_.begin(env, call.dy, Role::kInput, 0));
    RMSNORM_TRY(x_.begin(env, call.x, Role::kInput, 0));
    RMSNORM_TRY(weight_.begin(env, call.weight, Role::kInput, 0));
    RMSNORM_TRY(rstd_.begin(env, call.rstd, Role::kInput, 0));
    RMSNORM_TRY(dx_.begin(env, call.dx, Role::kOutput, call.x.length));
    RMSNORM_TRY(dweight_.begin(env, call.dweight, dweight_role, args_.shape.hidden_size));
    args_.dy.data = dy_.data();
    args_.x.data = x_.data();
    args_.weight.data = weight_.data();
    args_.rstd = static_cast<const float*>(rstd_.data());
    args_.dx.data = dx_.data();
    args_.dweight = dweight_.data();
    return {};
  }

 private:
  Status run() override { return napi::run(args_, device_); }
  Status end(Napi::Env env) override {
    RMSNORM_TRY(dx_.end(env));
    return dweight_.end(env);
  }
  Napi::Array result(Napi::Env env) override {
    return pair_of(env, dx_.fresh(env), dweight_.fresh(env));
  }

  BackwardArgs args_;
  int device_ = kCpu;
  ArrayInFlight dy_, x_, weight_, rstd_, dx_, dweight_;
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
