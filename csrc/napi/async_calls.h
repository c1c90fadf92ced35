// Calls on threads of libuv's pool. The pool, of four threads by default, serves the whole process:
// file system, DNS, zlib. So at most two calls are in it at once, whatever environment they are of;
// the rest wait here, first come, first served.
#pragma once

#include <node_api.h>

#include <optional>

#include "../cpu/thread_count.h"
#include "../op/status.h"
#include "promise.h"

namespace rmsnorm::napi {

class AsyncCall;
class AsyncCalls;

// Calls in a row, linked through themselves: nothing is allocated.
class CallList {
 public:
  bool is_empty() const { return first_ == nullptr; }
  void push(AsyncCall* call);
  AsyncCall* pop();  // the first, or null
  // Moves the calls of an owner to `others`.
  void move_calls_of(const AsyncCalls* owner, CallList* others);

 private:
  AsyncCall* first_ = nullptr;
  AsyncCall* last_ = nullptr;
};

// One call. Made and settled on the thread of JavaScript.
class AsyncCall {
 public:
  explicit AsyncCall(napi_env env);
  virtual ~AsyncCall();
  AsyncCall(const AsyncCall&) = delete;
  AsyncCall& operator=(const AsyncCall&) = delete;

  // Makes its promise. Hooks of node:async_hooks run, so arguments are read after it. Errors:
  // kInvalidState of an environment that is ending.
  Status open(napi_value* promise);

  // Settles the promise: with the result of finish(), or with an error.
  void settle(Status status);

 protected:
  // On a thread of the pool.
  virtual Status run() = 0;
  // On the thread of JavaScript, after run() has succeeded.
  virtual Status finish(napi_value* result) = 0;

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
  std::optional<cpu::OwnThreadCount> threads_;  // of the thread of JavaScript
  AsyncCalls* owner_ = nullptr;
  AsyncCall* following_ = nullptr;  // in its list
};

// Those of one environment.
class AsyncCalls {
 public:
  AsyncCalls(napi_env env, Mailbox& mailbox) : env_(env), mailbox_(mailbox) {}
  ~AsyncCalls() { close(); }
  AsyncCalls(const AsyncCalls&) = delete;
  AsyncCalls& operator=(const AsyncCalls&) = delete;

  // Takes over a call that has been opened, and deletes it when it has settled. The mailbox must be
  // open.
  void start(AsyncCall* call);

  // Puts what has been granted a slot into libuv's queue.
  void enter_pool();

  // For the end of the environment: calls that wait are dropped. Those in the pool have ended.
  void close();

 private:
  friend class AsyncCall;

  void grant_free_slots();
  void release_slot();
  void drop_waiting();
  void leave(int calls);

  napi_env env_;
  Mailbox& mailbox_;
  int outside_ = 0;  // calls that have started and are not in the pool
  bool is_held_ = false;
  CallList granted_;  // of them those that may enter it; under the mutex of the slots
};

}  // namespace rmsnorm::napi
