// Calls on threads of libuv's pool. The pool (four threads by default) serves the whole process:
// file system, DNS, zlib. So the process has only two slots, or one if the pool has one thread. A
// call of any environment needs a slot while it is in the pool. Other calls wait here, first in,
// first out.
#pragma once

#include <node_api.h>

#include <optional>

#include "../cpu/thread_count.h"
#include "../op/status.h"
#include "promise.h"

namespace rmsnorm::napi {

class AsyncCall;
class AsyncCalls;

// An intrusive queue of calls: it allocates nothing.
class CallList {
 public:
  bool is_empty() const { return first_ == nullptr; }
  void push(AsyncCall* call);
  AsyncCall* pop();  // null if the list is empty
  // Moves the calls of an owner to `moved`.
  void move_calls_of(const AsyncCalls* owner, CallList* moved);

 private:
  AsyncCall* first_ = nullptr;
  AsyncCall* last_ = nullptr;
};

// One call. Created and settled on the JavaScript thread.
class AsyncCall {
 public:
  explicit AsyncCall(napi_env env);
  virtual ~AsyncCall();
  AsyncCall(const AsyncCall&) = delete;
  AsyncCall& operator=(const AsyncCall&) = delete;

  // Creates the promise. This runs hooks of node:async_hooks, so read arguments afterwards. Errors:
  // kInvalidState if the environment is ending.
  Status open(napi_value* promise);

  // Settles the promise with the result of to_js(), or with an error.
  void settle(Status status);

 protected:
  // Runs on a thread of the pool.
  virtual Status run() = 0;
  // Makes the result. Runs on the JavaScript thread, after run() has succeeded.
  virtual Status to_js(napi_value* result) = 0;

  napi_env env() const { return env_; }

 private:
  friend class AsyncCalls;
  friend class CallList;

  static void execute(napi_env env, void* data);
  static void complete(napi_env env, napi_status status, void* data);

  napi_env env_;
  napi_deferred deferred_ = nullptr;
  napi_async_work work_ = nullptr;
  Status status_;
  std::optional<cpu::OwnThreadCount> threads_;  // copy of the JavaScript thread's own count, if any
  AsyncCalls* owner_ = nullptr;
  AsyncCall* next_ = nullptr;  // the next call in its list
};

// The calls of one environment.
class AsyncCalls {
 public:
  AsyncCalls(napi_env env, Mailbox& mailbox) : env_(env), mailbox_(mailbox) {}
  ~AsyncCalls() { close(); }
  AsyncCalls(const AsyncCalls&) = delete;
  AsyncCalls& operator=(const AsyncCalls&) = delete;

  // Takes ownership of a call after AsyncCall::open(). Deletes it once it has settled, or unsettled
  // if the environment ends first. The mailbox must be open.
  void start(AsyncCall* call);

  // Puts the calls that were granted a slot into libuv's queue.
  void enter_pool();

  // For the end of the environment: deletes the calls that are not in the pool yet. Calls in the
  // pool have ended by then, because Node.js waits for them first.
  void close();

 private:
  friend class AsyncCall;

  void grant_free_slots();
  void release_slot();
  void drop_waiting();
  void note_dequeued(int calls);

  napi_env env_;
  Mailbox& mailbox_;
  int queued_ = 0;        // started calls that are not in the pool yet
  bool has_ref_ = false;  // whether the event loop is kept alive for queued calls
  CallList granted_;      // calls that have a slot; guarded by the slots' mutex
};

}  // namespace rmsnorm::napi
