#include "environment.h"

#include <string>
#include <vector>

#include "../cuda/allocation.h"

namespace rmsnorm::napi {

NativeObject::~NativeObject() {
  if (environment_ != nullptr) environment_->objects_.erase(this);
}

void NativeObject::close() {
  if (environment_ == nullptr) return;
  environment_->objects_.erase(this);
  environment_ = nullptr;
  release();
}

Status check_open(const NativeObject& object, const char* name) {
  if (object.is_open()) return {};
  return {Code::kDisposed, std::string("The argument '") + name + "' has been disposed of"};
}

Status Environment::of(napi_env env, Environment** environment) {
  const Status ending(Code::kInvalidState, "The environment is ending");
  void* data = nullptr;
  if (napi_get_instance_data(env, &data) != napi_ok) return ending;
  *environment = static_cast<Environment*>(data);
  if (*environment == nullptr) {
    std::unique_ptr<Environment> made(new Environment(env));
    RMSNORM_TRY(made->promises_.open());
    // After the threadsafe function, and so called before it goes.
    const auto close = [](void* ending) { static_cast<Environment*>(ending)->close(); };
    const auto finalize = [](napi_env, void* ended, void*) {
      delete static_cast<Environment*>(ended);
    };
    if (napi_add_env_cleanup_hook(env, close, made.get()) != napi_ok) return ending;
    if (napi_set_instance_data(env, made.get(), finalize, nullptr) != napi_ok) {
      napi_remove_env_cleanup_hook(env, close, made.get());
      return ending;
    }
    *environment = made.release();
  }
  return (*environment)->is_closed_ ? ending : Status();
}

Status Environment::default_queue(cuda::Device& device, cuda::QueuePtr* queue) {
  if (const auto known = default_queues_.find(&device); known != default_queues_.end()) {
    *queue = known->second;
    return {};
  }
  RMSNORM_TRY(cuda::Queue::make(device, queue));
  default_queues_.emplace(&device, *queue);
  return {};
}

Status Environment::wrap(std::unique_ptr<NativeObject> object, const napi_type_tag& tag,
                         napi_value* value) {
  const auto finalize = [](napi_env, void* finalized, void*) {
    auto* object = static_cast<NativeObject*>(finalized);
    object->close();
    delete object;
  };
  object->environment_ = this;
  objects_.insert(object.get());
  if (napi_create_object(env_, value) != napi_ok ||
      napi_type_tag_object(env_, *value, &tag) != napi_ok ||
      napi_wrap(env_, *value, object.get(), finalize, nullptr, nullptr) != napi_ok) {
    object->close();
    return {Code::kInvalidState, "The environment is ending"};
  }
  object.release();
  return {};
}

// The finalizers of the objects come later, and find them closed.
void Environment::close() {
  is_closed_ = true;
  while (!objects_.empty()) (*objects_.begin())->close();
  for (const auto& [device, queue] : default_queues_) queue->close();
  default_queues_.clear();
  staging_.reset();
  cuda::synchronize_devices();
  cuda::drain_retired();
  promises_.close();
}

NativeObject* find_object(napi_env env, napi_value value, const napi_type_tag& tag) {
  // What is no object would leave an exception pending.
  napi_valuetype type = napi_undefined;
  bool is_tagged = false;
  void* data = nullptr;
  if (value == nullptr || napi_typeof(env, value, &type) != napi_ok || type != napi_object ||
      napi_check_object_type_tag(env, value, &tag, &is_tagged) != napi_ok || !is_tagged ||
      napi_unwrap(env, value, &data) != napi_ok) {
    return nullptr;
  }
  return static_cast<NativeObject*>(data);
}

}  // namespace rmsnorm::napi
