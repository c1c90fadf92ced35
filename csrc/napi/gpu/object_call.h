// Calls on GPU objects: arguments are read and checked one at a time, then the result is set.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <utility>

#include "../../cuda/driver/device.h"
#include "../arguments.h"
#include "../environment.h"

namespace rmsnorm::napi {

// An object that owns exactly one C++ object.
template <class Owned>
class OwningObject : public NativeObject {
 public:
  explicit OwningObject(std::unique_ptr<Owned> owned) : owned_(std::move(owned)) {}

  // Call it only while the object is open.
  Owned& get() { return *owned_; }

 private:
  void release() override { owned_.reset(); }

  std::unique_ptr<Owned> owned_;
};

class ObjectCall : public Arguments {
 public:
  // Errors: kInvalidState, kWrongType.
  Status begin(napi_env env, napi_callback_info info) {
    RMSNORM_TRY(Arguments::begin(env, info));
    RMSNORM_TRY(Environment::of(env, &environment_));
    return environment_->open_mailbox();
  }

  Status run(Status (*function)(ObjectCall&)) { return function(*this); }
  // Runs a function whose first argument is a GPU object or the ordinal of a device. Errors: those
  // of integer(), find_device() and object().
  template <class Subject>
  Status run(Status (*function)(ObjectCall&, Subject&)) {
    Subject* subject = nullptr;
    if constexpr (std::is_same_v<Subject, cuda::Device>) {
      std::int64_t ordinal = 0;
      RMSNORM_TRY(integer(0, "device", 0, kMaxOrdinal, &ordinal));
      RMSNORM_TRY(cuda::find_device(static_cast<int>(ordinal), &subject));
    } else {
      RMSNORM_TRY(object(0, Subject::kName, &subject));
    }
    return function(*this, *subject);
  }

  Environment& environment() { return *environment_; }

  // Reads an argument that is a GPU object of the class Object. Errors: kWrongType, kDisposed.
  template <class Object>
  Status object(std::size_t index, const char* name, Object** object) {
    *object = find_object<Object>(env(), (*this)[index]);
    if (*object == nullptr) return wrong_type(index, name, Object::kKind);
    return check_open(**object, name);
  }

  void returns_boolean(bool boolean) {
    napi_value value = nullptr;
    napi_get_boolean(env(), boolean, &value);
    returns(value);
  }
  void returns_pointer(std::uint64_t pointer) {
    napi_value value = nullptr;
    napi_create_bigint_uint64(env(), pointer, &value);
    returns(value);
  }
  // Returns a new C++ object to JavaScript. Errors: kInvalidState if the environment is ending.
  Status returns_object(std::unique_ptr<NativeObject> object) {
    napi_value value = nullptr;
    RMSNORM_TRY(environment_->wrap(std::move(object), &value));
    returns(value);
    return {};
  }

 private:
  Environment* environment_ = nullptr;
};

// The functions of each class of GPU objects.
extern const Methods kDeviceBuffers;
extern const Methods kHostBuffers;
extern const Methods kStreams;
extern const Methods kEvents;

// Adds the exports `devices` and `cuda` of binding.d.ts.
void export_gpu(napi_env env, napi_value exports);

}  // namespace rmsnorm::napi
