// Promises that settle when the work of a stream has run. The driver calls back on a thread of its
// own. A threadsafe function of Node.js takes the result to the JavaScript thread, so no thread
// blocks. Pending promises keep the event loop alive.
#pragma once

#include <node_api.h>

#include <memory>
#include <mutex>
#include <set>

#include "../cuda/runtime/stream.h"
#include "../op/status.h"

namespace rmsnorm::napi {

class AsyncCalls;

// The last step before a promise settles. Owns what must live until then.
class Completion {
 public:
  virtual ~Completion() = default;
  // Called on the JavaScript thread, once the stream's work has run without an error. An error
  // returned here rejects the promise.
  virtual Status complete(napi_env env) = 0;
};

// Sends messages from other threads to the thread of one environment. Outlives the environment,
// since callbacks may come later.
class Mailbox {
 public:
  Mailbox(napi_env env, AsyncCalls& calls) : env_(env), calls_(calls) {}
  ~Mailbox() { close(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Makes the threadsafe function, which runs hooks of node:async_hooks. Errors: kInvalidState if
  // the environment refuses that function; no promise can be made then.
  Status open();
  bool is_open() const { return function_ != nullptr; }

  // ref() keeps the event loop alive until the matching unref(). Call them only after open().
  void ref();
  void unref();

  // Makes the environment's thread call AsyncCalls::enter_pool(). Any thread may call it.
  void wake() { deliver(nullptr); }

  // For the end of the environment. Promises that are still pending never settle.
  void close();

 private:
  friend class Promise;
  struct Pending;

  static void called_back(cuda::CUstream stream, cuda::CUresult result, void* data);
  static void arrive(napi_env env, napi_value callback, void* context, void* data);

  bool deliver(Pending* pending);
  void remove(Pending* pending);

  napi_env env_;
  AsyncCalls& calls_;
  int refs_ = 0;
  std::set<Pending*> pending_;
  std::mutex mutex_;  // guards function_, which only the JavaScript thread changes
  napi_threadsafe_function function_ = nullptr;
};

// A promise that has not been returned to JavaScript yet. It resolves to undefined.
class Promise {
 public:
  explicit Promise(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
  // Settles the promise if it was not returned to JavaScript.
  ~Promise();
  Promise(const Promise&) = delete;
  Promise& operator=(const Promise&) = delete;

  // Creates the promise. This runs hooks of node:async_hooks, which may dispose of any object, so
  // read arguments afterwards. Errors: kInvalidState if the environment is ending.
  Status make();

  // Returns the promise. It resolves when all work that is now enqueued on the stream has run and
  // `completion`, which may be null, has completed. It rejects with the first error, also if the
  // driver's callback cannot be enqueued.
  napi_value settle_after(cuda::Stream& stream, std::unique_ptr<Completion> completion);

 private:
  void settle(const Status& status);

  std::shared_ptr<Mailbox> mailbox_;
  Mailbox::Pending* pending_ = nullptr;  // null before make() and after settle_after()
  napi_value value_ = nullptr;
};

}  // namespace rmsnorm::napi
