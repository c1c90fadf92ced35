#include "async_calls.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include "../os/platform.h"
#include "errors.h"
#include "results.h"

namespace rmsnorm::napi {
namespace {

constexpr const char* kName = "fused-rmsnorm";

// Half of the pool's four threads; one of a pool that has no more, as libuv reads its variable.
int slot_count() {
  const auto size = environment_variable("UV_THREADPOOL_SIZE");
  return size && std::atoi(size->c_str()) <= 1 ? 1 : 2;
}

// Of the process. Places in the pool, and calls of every environment that wait for one.
struct Slots {
  std::mutex mutex;
  int free = slot_count();
  CallList waiting;
};

// Never destroyed: threads of an ending process may still be inside.
Slots& slots() {
  static Slots& instance = *new Slots;
  return instance;
}

// A function that needs no more than an environment in which JavaScript may run.
bool is_ending(napi_env env) {
  napi_value undefined = nullptr;
  bool is_equal = false;
  return napi_get_undefined(env, &undefined) != napi_ok ||
         napi_strict_equals(env, undefined, undefined, &is_equal) != napi_ok;
}

}  // namespace

void CallList::push(AsyncCall* call) {
  (is_empty() ? first_ : last_->following_) = call;
  last_ = call;
}

AsyncCall* CallList::pop() {
  AsyncCall* const call = first_;
  if (call != nullptr) first_ = std::exchange(call->following_, nullptr);
  return call;
}

void CallList::move_calls_of(const AsyncCalls* owner, CallList* others) {
  CallList kept;
  while (AsyncCall* const call = pop()) (call->owner_ == owner ? others : &kept)->push(call);
  *this = kept;
}

AsyncCall::AsyncCall(napi_env env) : env_(env) {
  if (const cpu::OwnThreadCount* const own = cpu::own_thread_count()) threads_ = *own;
}

AsyncCall::~AsyncCall() {
  if (work_ != nullptr) napi_delete_async_work(env_, work_);
}

Status AsyncCall::open(napi_value* promise) {
  napi_value name = make_string(env_, kName);
  if (napi_create_async_work(env_, nullptr, name, execute, complete, this, &work_) != napi_ok ||
      napi_create_promise(env_, &deferred_, promise) != napi_ok) {
    return ending();
  }
  return {};
}

void AsyncCall::settle(Status status) {
  napi_value value = nullptr;
  bool is_resolved = false;
  try {
    if (status.ok()) status = finish(&value);
    is_resolved = status.ok();
    if (!is_resolved) value = make_error(env_, status);
  } catch (const std::bad_alloc&) {
    is_resolved = false;
    value = make_error(env_, out_of_memory());
  }
  if (is_resolved) {
    napi_resolve_deferred(env_, deferred_, value);
  } else {
    napi_reject_deferred(env_, deferred_, value);
  }
}

void AsyncCall::execute(napi_env, void* data) {
  auto* const call = static_cast<AsyncCall*>(data);
  cpu::use_own_thread_count(call->threads_ ? &*call->threads_ : nullptr);
  try {
    call->status_ = call->run();
  } catch (const std::bad_alloc&) {
    call->status_ = out_of_memory();
  }
  cpu::use_own_thread_count(nullptr);
}

// The next call enters the pool before this one's results are copied.
void AsyncCall::complete(napi_env, napi_status, void* data) {
  auto* const call = static_cast<AsyncCall*>(data);
  call->owner_->release_slot();
  call->settle(std::move(call->status_));
  delete call;
}

Status AsyncCalls::open() {
  static_cast<void>(slots());  // made here, where that may fail
  napi_value name = make_string(env_, kName);
  napi_threadsafe_function wake = nullptr;
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                      woken, &wake) != napi_ok) {
    return ending();
  }
  if (is_open()) {  // by a hook that has made a call meanwhile
    napi_release_threadsafe_function(wake, napi_tsfn_abort);
    return {};
  }
  wake_ = wake;
  napi_unref_threadsafe_function(env_, wake_);
  return {};
}

void AsyncCalls::start(AsyncCall* call) {
  call->owner_ = this;
  // Keeps the event loop alive while it waits: the slot may become free in another thread.
  if (outside_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  {
    const std::lock_guard lock(slots().mutex);
    slots().waiting.push(call);
    grant_free_slots();
  }
  enter_pool();
}

void AsyncCalls::close() {
  if (!is_open()) return;
  drop_waiting();
  const std::lock_guard lock(slots().mutex);
  grant_free_slots();
  napi_release_threadsafe_function(std::exchange(wake_, nullptr), napi_tsfn_abort);
}

// Without an environment the queue of the threadsafe function is just emptied.
void AsyncCalls::woken(napi_env env, napi_value, void* context, void*) {
  if (env != nullptr) static_cast<AsyncCalls*>(context)->enter_pool();
}

// Under the mutex of the slots, on this environment's thread. Wakes other environments.
void AsyncCalls::grant_free_slots() {
  while (slots().free > 0 && !slots().waiting.is_empty()) {
    AsyncCall* const call = slots().waiting.pop();
    --slots().free;
    call->owner_->granted_.push(call);
    if (call->owner_ != this) {
      napi_call_threadsafe_function(call->owner_->wake_, nullptr, napi_tsfn_nonblocking);
    }
  }
}

void AsyncCalls::release_slot() {
  if (is_ending(env_)) drop_waiting();
  {
    const std::lock_guard lock(slots().mutex);
    ++slots().free;
    grant_free_slots();
  }
  enter_pool();
}

// Puts what has been granted a slot into libuv's queue.
void AsyncCalls::enter_pool() {
  CallList entering;
  {
    const std::lock_guard lock(slots().mutex);
    std::swap(entering, granted_);
  }
  int count = 0;
  for (; AsyncCall* const call = entering.pop(); ++count) napi_queue_async_work(env_, call->work_);
  leave(count);
}

void AsyncCalls::drop_waiting() {
  CallList dropped;
  {
    const std::lock_guard lock(slots().mutex);
    slots().waiting.move_calls_of(this, &dropped);
    for (; AsyncCall* const call = granted_.pop(); ++slots().free) dropped.push(call);
  }
  int count = 0;
  for (; AsyncCall* const call = dropped.pop(); ++count) delete call;
  leave(count);
}

void AsyncCalls::leave(int calls) {
  if (calls > 0 && (outside_ -= calls) == 0) napi_unref_threadsafe_function(env_, wake_);
}

}  // namespace rmsnorm::napi
