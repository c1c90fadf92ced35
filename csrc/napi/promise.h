// Promises that settle when a stream has passed. The driver calls back on a thread of its own, and
// a threadsafe function of Node.js's brings the news to the thread of JavaScript: nobody is
// blocked. Pending promises keep the event loop alive.
#pragma once

#include <node_api.h>

#include <memory>

#include "../cuda/runtime/stream.h"
#include "../op/status.h"

namespace rmsnorm::napi {

// What is left to be done on JavaScript's thread, and what must stay until then.
class Completion {
 public:
  virtual ~Completion() = default;
  // Called once the stream has passed without an error; its error rejects the promise.
  virtual Status finish(napi_env env) = 0;
};

// Those of one environment.
class Promises {
 public:
  explicit Promises(napi_env env) : env_(env) {}
  ~Promises() { close(); }
  Promises(const Promises&) = delete;
  Promises& operator=(const Promises&) = delete;

  // Hooks of node:async_hooks run. Errors: kInvalidState if the environment has no room for it; no
  // promise can be made then.
  Status open();
  bool is_open() const { return mailbox_ != nullptr; }

  // For the end of the environment: what is pending stays so.
  void close();

 private:
  friend class Promise;
  struct Pending;
  class Mailbox;

  static void called_back(cuda::CUstream stream, cuda::CUresult result, void* data);
  static void settle(napi_env env, napi_value callback, void* context, void* data);

  void add(Pending* pending);
  void remove(Pending* pending);

  napi_env env_;
  std::shared_ptr<Mailbox> mailbox_;
  napi_threadsafe_function function_ = nullptr;
  Pending* pending_ = nullptr;  // the first of a list
};

// A promise of undefined, on its way to JavaScript.
class Promise {
 public:
  explicit Promise(Promises& promises);
  // One that was not returned to JavaScript is dropped.
  ~Promise();
  Promise(const Promise&) = delete;
  Promise& operator=(const Promise&) = delete;

  // Makes it. Hooks of node:async_hooks run, and may dispose of any object: so this comes before
  // arguments are read. Errors: kInvalidState of an environment that is ending.
  Status make();

  // Returns it. It settles when what the stream holds now has run, or with the error that keeps it
  // from doing so. `completion` may be null.
  napi_value settle_after(cuda::Stream& stream, std::unique_ptr<Completion> completion);

 private:
  Promises& promises_;
  std::unique_ptr<Promises::Pending> pending_;  // null once JavaScript has it
  napi_value value_ = nullptr;
};

}  // namespace rmsnorm::napi
