// What one JavaScript environment (the main thread, a worker) has of GPUs: its default streams, its
// staging memory, its objects and its promises. Made when first needed. An environment that ends
// closes all of it, whatever JavaScript still refers to, and waits for its work.
#pragma once

#include <node_api.h>

#include <map>
#include <memory>
#include <set>

#include "../cuda/queue.h"
#include "../cuda/transfer.h"
#include "promise.h"

namespace rmsnorm::napi {

class Environment;

// A C++ object behind one of JavaScript's. Its class has a kTag, which no other has, and a kKind,
// such as "a Stream".
class NativeObject {
 public:
  NativeObject() = default;
  virtual ~NativeObject();
  NativeObject(const NativeObject&) = delete;
  NativeObject& operator=(const NativeObject&) = delete;

  // Lets go of all that it holds, once: for dispose(), the end of the environment, the finalizer.
  void close();
  bool is_open() const { return environment_ != nullptr; }

 protected:
  virtual void release() = 0;

 private:
  friend class Environment;
  Environment* environment_ = nullptr;  // from wrap() until close()
};

// Errors: kDisposed of one that has been closed.
Status check_open(const NativeObject& object, const char* name);

class Environment {
 public:
  // Of this thread. Errors: kInvalidState while it is ending.
  static Status of(napi_env env, Environment** environment);

  // The queue of calls that name no stream. Errors: kCuda.
  Status default_queue(cuda::Device& device, cuda::QueuePtr* queue);

  // A JavaScript object for a new one of C++. Errors: kInvalidState of an environment that is
  // ending.
  template <class Object>
  Status wrap(std::unique_ptr<Object> object, napi_value* value) {
    return wrap(std::move(object), Object::kTag, value);
  }

  napi_env env() const { return env_; }
  Promises& promises() { return promises_; }
  cuda::StagingPool& staging() { return *staging_; }

 private:
  friend class NativeObject;

  explicit Environment(napi_env env) : env_(env), promises_(env) {}
  Status wrap(std::unique_ptr<NativeObject> object, const napi_type_tag& tag, napi_value* value);
  void close();

  napi_env env_;
  bool is_closed_ = false;
  Promises promises_;
  std::unique_ptr<cuda::StagingPool> staging_ = std::make_unique<cuda::StagingPool>();
  std::map<cuda::Device*, cuda::QueuePtr> default_queues_;
  std::set<NativeObject*> objects_;
};

// The object of C++ behind a value, open or not; null if it is none of this tag.
NativeObject* find_object(napi_env env, napi_value value, const napi_type_tag& tag);

template <class Object>
Object* find_object(napi_env env, napi_value value) {
  return static_cast<Object*>(find_object(env, value, Object::kTag));
}

}  // namespace rmsnorm::napi
