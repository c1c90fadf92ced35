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

// The number of slots: two, half of the pool's default four threads, or one if the pool has one
// thread. Parses UV_THREADPOOL_SIZE with atoi(), as libuv does.
int slot_count() {
  const auto size = environment_variable("UV_THREADPOOL_SIZE");
  return size && std::atoi(size->c_str()) <= 1 ? 1 : 2;
}

// The number of free slots, and the calls of all environments that wait for a slot. The process has
// one instance.
struct Slots {
  std::mutex mutex;
  int free = slot_count();
  CallList waiting;
};

// The instance is never destroyed, because threads may still use it while the process ends.
Slots& slots() {
  static Slots& instance = *new Slots;
  return instance;
}

// Whether JavaScript can no longer run. Node-API then refuses napi_strict_equals, which has no
// other reason to fail here.
bool is_ending(napi_env env) {
  napi_value undefined = nullptr;
  bool is_equal = false;
  return napi_get_undefined(env, &undefined) != napi_ok ||
         napi_strict_equals(env, undefined, undefined, &is_equal) != napi_ok;
}

}  // namespace

void CallList::push(AsyncCall* call) {
  (is_empty() ? first_ : last_->next_) = call;
  last_ = call;
}

AsyncCall* CallList::pop() {
  AsyncCall* const call = first_;
  if (call != nullptr) first_ = std::exchange(call->next_, nullptr);
  return call;
}

void CallList::move_calls_of(const AsyncCalls* owner, CallList* moved) {
  CallList remaining;
  while (AsyncCall* const call = pop()) (call->owner_ == owner ? moved : &remaining)->push(call);
  *this = remaining;
}

AsyncCall::AsyncCall(napi_env env) : env_(env) {
  if (const cpu::OwnThreadCount* const own = cpu::own_thread_count()) threads_ = *own;
}

AsyncCall::~AsyncCall() {
  if (work_ != nullptr) napi_delete_async_work(env_, work_);
}

Status AsyncCall::open(napi_value* promise) {
  static_cast<void>(slots());  // created here, where a failure can be reported
  napi_value name = make_string(env_, kResourceName);
  if (napi_create_async_work(env_, nullptr, name, execute, complete, this, &work_) != napi_ok ||
      napi_create_promise(env_, &deferred_, promise) != napi_ok) {
    return ending();
  }
  return {};
}

void AsyncCall::settle(Status status) {
  napi::settle(env_, deferred_,
               [&](napi_value* value) { return status.ok() ? to_js(value) : status; });
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

// Releases the slot first, so that the next call enters the pool before the results of this call
// are copied.
void AsyncCall::complete(napi_env, napi_status, void* data) {
  auto* const call = static_cast<AsyncCall*>(data);
  call->owner_->release_slot();
  call->settle(std::move(call->status_));
  delete call;
}

void AsyncCalls::start(AsyncCall* call) {
  call->owner_ = this;
  ++queued_;
  {
    const std::lock_guard lock(slots().mutex);
    slots().waiting.push(call);
    grant_free_slots();
  }
  enter_pool();
}

void AsyncCalls::close() {
  if (queued_ == 0) return;
  drop_waiting();
  const std::lock_guard lock(slots().mutex);
  grant_free_slots();
}

// Call with the slots' mutex locked, on this environment's thread. Wakes other environments whose
// calls get a slot.
void AsyncCalls::grant_free_slots() {
  while (slots().free > 0 && !slots().waiting.is_empty()) {
    AsyncCall* const call = slots().waiting.pop();
    --slots().free;
    call->owner_->granted_.push(call);
    if (call->owner_ != this) call->owner_->mailbox_.wake();
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

void AsyncCalls::enter_pool() {
  CallList entering;
  {
    const std::lock_guard lock(slots().mutex);
    std::swap(entering, granted_);
  }
  int count = 0;
  for (; AsyncCall* const call = entering.pop(); ++count) napi_queue_async_work(env_, call->work_);
  note_dequeued(count);
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
  note_dequeued(count);
}

// Notes that calls have entered the pool or were dropped. Keeps the event loop alive while other
// calls of this environment are queued: another thread may release the slot that they wait for, and
// then wakes this thread.
void AsyncCalls::note_dequeued(int calls) {
  queued_ -= calls;
  const bool waits = queued_ > 0;
  if (waits != has_ref_) waits ? mailbox_.ref() : mailbox_.unref();
  has_ref_ = waits;
}

}  // namespace rmsnorm::napi
