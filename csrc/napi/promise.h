// Promises that settle when a stream has passed. The driver calls back on a thread of its own, and
// a threadsafe function of Node.js's brings the news to the thread of JavaScript: nobody is
// blocked. Pending promises keep the event loop alive.
#pragma once

#include <node_api.h>

#include <memory>
#include <mutex>
#include <set>

#include "../cuda/runtime/stream.h"
#include "../op/status.h"

namespace rmsnorm::napi {

class AsyncCalls;

// What is left to be done on JavaScript's thread, and what must stay until then.
class Completion {
 public:
  virtual ~Completion() = default;
  // Called once the stream has passed without an error; its error rejects the promise.
  virtual Status finish(napi_env env) = 0;
};

// How other threads reach that of one environment. Outlives it, for callbacks that come later.
class Mailbox {
 public:
  Mailbox(napi_env env, AsyncCalls& calls) : env_(env), calls_(calls) {}
  ~Mailbox() { close(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Hooks of node:async_hooks run. Errors: kInvalidState if the environment has no room for it; no
  // promise can be made then.
  Status open();
  bool is_open() const { return function_ != nullptr; }

  // Once it is open. The event loop stays alive while somebody holds the mailbox.
  void hold();
  void let_go();

  // Has AsyncCalls::enter_pool() called. From any thread.
  void wake() { deliver(nullptr); }

  // For the end of the environment: what is pending stays so.
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
  int held_ = 0;
  std::set<Pending*> pending_;
  std::mutex mutex_;  // of what follows; that changes on the thread of JavaScript alone
  napi_threadsafe_function function_ = nullptr;
};

// A promise of undefined, on its way to JavaScript.
class Promise {
 public:
  explicit Promise(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
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
  void settle(const Status& status);

  std::shared_ptr<Mailbox> mailbox_;
  Mailbox::Pending* pending_ = nullptr;  // null once it is no longer ours
  napi_value value_ = nullptr;
};

}  // namespace rmsnorm::napi
