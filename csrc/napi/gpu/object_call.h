// Calls on the objects of a GPU: their arguments, read and checked one at a time, and their result.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <utility>

#include "../../cuda/driver/device.h"
#include "../arguments.h"
#include "../environment.h"
#include "../errors.h"
#include "../method.h"

namespace rmsnorm::napi {

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

class ObjectCall : public Arguments {
 public:
  // Errors: kInvalidState, kWrongType.
  Status begin(napi_env env, napi_callback_info info);

  Environment& environment() { return *environment_; }

  // By its ordinal. Errors: as find_device, too.
  Status device(std::size_t index, cuda::Device** device);
  // An object of ours. Errors: kDisposed, too.
  template <class Object>
  Status object(std::size_t index, const char* name, Object** object) {
    *object = find_object<Object>(env(), (*this)[index]);
    if (*object == nullptr) return wrong_type(index, name, Object::kKind);
    return check_open(**object, name);
  }

  // The result, where it is not undefined. returns_object: for a new object of C++. Errors:
  // kInvalidState of an environment that is ending.
  void returns(napi_value value) { result_ = value; }
  void returns_boolean(bool boolean) { napi_get_boolean(env(), boolean, &result_); }
  void returns_pointer(std::uint64_t pointer) {
    napi_create_bigint_uint64(env(), pointer, &result_);
  }
  template <class Object>
  Status returns_object(std::unique_ptr<Object> object) {
    return environment_->wrap(std::move(object), &result_);
  }
  napi_value result() const { return result_; }

 private:
  Environment* environment_ = nullptr;
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
