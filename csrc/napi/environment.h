// What one JavaScript environment (the main thread, a worker) has: its calls in flight; the threads
// that RMSNORM_NUM_THREADS of its own `process.env` gives them; of GPUs its default streams,
// staging memory, objects and promises. Made each time that the addon is loaded, which may be more
// than once in a thread. An environment that ends closes all of it, whatever JavaScript still
// refers to, and waits for its work, and for nobody else's.
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

// A C++ object behind one of JavaScript's. Its class has a kKind, such as "a Stream", and a
// kName that arguments have, such as "stream".
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
  // For the loading of the addon. Errors: kInvalidState of an environment that is ending.
  static Status make(napi_env env);

  // That of this load. Errors: kInvalidState while it is ending.
  static Status of(napi_env env, Environment** environment);

  // Before the first promise, or call on another thread. Hooks of node:async_hooks run: so this
  // comes before a pointer is read. Errors: kInvalidState.
  Status open_mailbox();

  // `ArrayBuffer`, and `Buffer.allocUnsafeSlow` or null, as they were when the addon was loaded.
  napi_value array_buffer_class() const;
  napi_value make_unset_view() const;

  // The stream of calls that name none. Errors: kCuda.
  Status default_stream(cuda::Device& device, cuda::StreamPtr* stream);

  // One for a promise alone, which nothing else waits for until it has settled. Errors: kCuda.
  Status idle_stream(cuda::Device& device, cuda::StreamPtr* stream);

  // Closes a stream, whose work the end of the environment waits for.
  void close_stream(cuda::Stream& stream) noexcept;

  // An external value of JavaScript for a new object of C++. To look into a wrapped object, which
  // has properties, takes several times as long. Errors: kInvalidState of an environment that is
  // ending.
  Status wrap(std::unique_ptr<NativeObject> object, napi_value* value);

  // Whether a pointer, of whatever origin, is an object of this environment that is open.
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
  napi_ref make_unset_view_ = nullptr;  // null where there is no `Buffer`
  std::optional<cpu::OwnThreadCount> threads_;
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(env_, async_calls_);
  AsyncCalls async_calls_{env_, *mailbox_};
  std::unique_ptr<cuda::StagingPool> staging_ = std::make_unique<cuda::StagingPool>();
  std::map<cuda::Device*, cuda::StreamPtr> default_streams_;
  std::vector<cuda::StreamPtr> promise_streams_;
  std::vector<std::shared_ptr<cuda::Fence>> ends_;  // of closed streams
  std::unordered_set<NativeObject*> objects_;       // those that are open
};

// The object of C++ behind a value, open or not; null if there is none, or of another class.
NativeObject* find_native_object(napi_env env, napi_value value);
template <class Object>
Object* find_object(napi_env env, napi_value value) {
  NativeObject* const found = find_native_object(env, value);
  // Classes are final: dynamic_cast would take longer.
  return found != nullptr && typeid(*found) == typeid(Object) ? static_cast<Object*>(found)
                                                              : nullptr;
}

}  // namespace rmsnorm::napi
