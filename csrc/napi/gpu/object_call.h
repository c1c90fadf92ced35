// Calls on the objects of a GPU: their arguments, read and checked one at a time, and their result.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <utility>

#include "../environment.h"
#include "../method.h"
#include "../values.h"

namespace rmsnorm::napi {

Status argument_error(napi_env env, Code code, const char* name, const std::string& expected,
                      napi_value actual);

// An array that is copied from or to, valid until JavaScript runs again.
struct HostArray {
  napi_value value = nullptr;
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;
};

// A typed array of this dtype. Errors: kWrongType.
Status read_host_array(napi_env env, napi_value value, DType dtype, const char* name,
                       HostArray* array);

// An object that owns one of C++ alone.
template <class Owned>
class OwningObject : public NativeObject {
 public:
  explicit OwningObject(std::unique_ptr<Owned> owned) : owned_(std::move(owned)) {}

  // While it is open.
  Owned& get() { return *owned_; }

 private:
  void release() override { owned_.reset(); }

  std::unique_ptr<Owned> owned_;
};

class ObjectCall {
 public:
  // Errors: kInvalidState.
  Status begin(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }
  Environment& environment() { return *environment_; }
  napi_value argument(std::size_t index) const { return arguments_[index]; }

  // Arguments by their index. Errors: kWrongType, kOutOfRange.
  Status integer(std::size_t index, const char* name, std::int64_t most, std::int64_t* integer);
  Status number(std::size_t index, const char* name, double* number);
  Status boolean(std::size_t index, const char* name, bool* boolean);
  Status pointer(std::size_t index, std::uint64_t* pointer);
  Status dtype(std::size_t index, DType* dtype);
  // By its ordinal. Errors: as find_device, too.
  Status device(std::size_t index, cuda::Device** device);
  // An array, followed by its dtype.
  Status array(std::size_t index, const char* name, HostArray* array);

  // An object of ours. Errors: kDisposed, too.
  template <class Object>
  Status object(std::size_t index, const char* name, Object** object) {
    *object = find_object<Object>(env_, arguments_[index]);
    if (*object == nullptr) return wrong_type(index, name, Object::kKind);
    return check_open(**object, name);
  }

  // The result, where it is not undefined. returns_object: for a new object of C++. Errors:
  // kInvalidState of an environment that is ending.
  void returns(napi_value value) { result_ = value; }
  void returns_boolean(bool boolean) { napi_get_boolean(env_, boolean, &result_); }
  void returns_pointer(std::uint64_t pointer) {
    napi_create_bigint_uint64(env_, pointer, &result_);
  }
  template <class Object>
  Status returns_object(std::unique_ptr<Object> object) {
    return environment_->wrap(std::move(object), &result_);
  }
  napi_value result() const { return result_; }

  Status wrong_type(std::size_t index, const char* name, const char* expected) const;

 private:
  static constexpr std::size_t kMaxArguments = 6;

  napi_env env_ = nullptr;
  Environment* environment_ = nullptr;
  napi_value arguments_[kMaxArguments] = {};
  napi_value result_ = nullptr;
};

// The Node-API callback of a function over calls. Its exceptions are for method() to catch.
template <Status (*function)(ObjectCall&)>
napi_value object_callback(napi_env env, napi_callback_info info) {
  ObjectCall call;
  Status status = call.begin(env, info);
  if (status.ok()) status = function(call);
  return status.ok() ? call.result() : throw_status(env, status);
}

template <Status (*function)(ObjectCall&)>
constexpr napi_property_descriptor object_method(const char* name) {
  return method<object_callback<function>>(name);
}

}  // namespace rmsnorm::napi
