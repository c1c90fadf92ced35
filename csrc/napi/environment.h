// The state of one load of the addon in a JavaScript environment (the main thread, a worker). A
// thread that loads the addon twice has two Environments. Each has the asynchronous calls in
// flight. It has a thread count if RMSNORM_NUM_THREADS in its own `process.env` differs from the
// process's variable. For GPUs it has the default streams, staging memory (transfer.h), objects and
// promises.
//
// When the JavaScript environment ends, the Environment waits for its work on GPUs and drops the
// calls that wait for a slot (async_calls.h). It closes everything, even objects that JavaScript
// still refers to.
#pragma once

#include <node_api.h>

#include <map>
#include <memory>
#include <optional>
#include <typeinfo>
#include <unordered_set>
#include <vector>

#include "../cpu/thread_count.h"
#include "../cuda/host/transfer.h"
#include "../cuda/runtime/stream.h"
#include "async_calls.h"
#include "promise.h"

namespace rmsnorm::napi {

class Environment;

// A C++ object behind a JavaScript value. Each class derived from it defines kKind, its name in
// messages, such as "a Stream". Most also define kName, the usual name of the argument: "stream".
class NativeObject {
 public:
  NativeObject() = default;
  virtual ~NativeObject();
  NativeObject(const NativeObject&) = delete;
  NativeObject& operator=(const NativeObject&) = delete;

  // Releases everything that the object holds. Idempotent. dispose(), the end of the environment
  // and the finalizer call it.
  void close();
  bool is_open() const { return environment_ != nullptr; }

 protected:
  virtual void release() = 0;

 private:
  friend class Environment;
  Environment* environment_ = nullptr;  // set from wrap() until close()
};

// `name` is the argument's name, for the message. Errors: kDisposed if the object is closed.
Status check_open(const NativeObject& object, const char* name);

class Environment {
 public:
  // Creates the environment when the addon is loaded. Errors: kInvalidState if JavaScript's
  // environment is ending.
  static Status make(napi_env env);

  // The environment that make() created for this load. Errors: kInvalidState while it is ending.
  static Status of(napi_env env, Environment** environment);

  // Opens the mailbox, through which other threads send messages to the JavaScript thread. Call it
  // before the first promise, and before the first call that runs on another thread. It runs hooks
  // of node:async_hooks, whose JavaScript may detach buffers. So read pointers only afterwards.
  // Errors: kInvalidState if the environment is ending.
  Status open_mailbox();

  // JavaScript's `ArrayBuffer` and `Buffer.allocUnsafeSlow`, as they were when the addon was
  // loaded. The latter is nullptr if there is no `Buffer`.
  napi_value array_buffer_class() const;
  napi_value alloc_unsafe_slow() const;

  // The stream of calls that pass no stream. Errors: kCuda.
  Status default_stream(cuda::Device& device, cuda::StreamPtr* stream);

  // A stream without work in flight, for one promise. No other promise gets the stream until that
  // promise has settled. Errors: kCuda.
  Status idle_stream(cuda::Device& device, cuda::StreamPtr* stream);

  // Closes a stream. The end of the environment still waits for the work enqueued on it.
  void close_stream(cuda::Stream& stream) noexcept;

  // Makes a JavaScript external value for a new C++ object. Reading the pointer of an object made
  // with napi_wrap would take several times as long. Errors: kInvalidState if the environment is
  // ending.
  Status wrap(std::unique_ptr<NativeObject> object, napi_value* value);

  // Whether a pointer, which may be invalid, is an open object of this environment.
  bool has_open(NativeObject* object) const { return objects_.contains(object); }

  napi_env env() const { return env_; }
  const std::shared_ptr<Mailbox>& mailbox() { return mailbox_; }
  AsyncCalls& async_calls() { return async_calls_; }
  cuda::StagingPool& staging() { return *staging_; }

 private:
  friend class NativeObject;

  explicit Environment(napi_env env) : env_(env) {}
  static void end(void* environment);
  void close();

  napi_env env_;
  bool is_closed_ = false;
  napi_ref array_buffer_class_ = nullptr;
  napi_ref alloc_unsafe_slow_ = nullptr;  // null if there is no `Buffer`
  std::optional<cpu::OwnThreadCount> threads_;
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(env_, async_calls_);
  AsyncCalls async_calls_{env_, *mailbox_};
  std::unique_ptr<cuda::StagingPool> staging_ = std::make_unique<cuda::StagingPool>();
  std::map<cuda::Device*, cuda::StreamPtr> default_streams_;
  std::vector<cuda::StreamPtr> promise_streams_;
  std::vector<std::shared_ptr<cuda::Fence>> closed_stream_fences_;  // close() waits for them
  std::unordered_set<NativeObject*> objects_;                       // open objects
};

// The C++ object behind a value, open or closed; null if there is none.
NativeObject* find_native_object(napi_env env, napi_value value);

// As find_native_object(), but also null if the object's class is not Object.
template <class Object>
Object* find_object(napi_env env, napi_value value) {
  NativeObject* const found = find_native_object(env, value);
  // Classes are final, so typeid is enough; dynamic_cast would take longer.
  return found != nullptr && typeid(*found) == typeid(Object) ? static_cast<Object*>(found)
                                                              : nullptr;
}

}  // namespace rmsnorm::napi
