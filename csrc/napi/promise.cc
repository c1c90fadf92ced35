#include "promise.h"

#include <mutex>
#include <new>

#include "errors.h"
#include "results.h"
#include "values.h"

namespace rmsnorm::napi {

// Where callbacks deliver: open as long as the environment is there to take it. Outlives it, for
// callbacks that come later.
class Promises::Mailbox {
 public:
  void open(napi_threadsafe_function function) { function_ = function; }
  bool deliver(Pending* pending) {
    const std::lock_guard lock(mutex_);
    return function_ != nullptr &&
           napi_call_threadsafe_function(function_, pending, napi_tsfn_nonblocking) == napi_ok;
  }
  // From now on callbacks delete what they cannot deliver. `forget` is called before any does.
  template <class Forget>
  void close(const Forget& forget) {
    const std::lock_guard lock(mutex_);
    function_ = nullptr;
    forget();
  }

 private:
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
};

// Deleted by the last that uses it: the thread of JavaScript, or a callback that finds the
// environment gone.
struct Promises::Pending {
  Promises* promises = nullptr;
  std::shared_ptr<Mailbox> mailbox;
  cuda::Device* device = nullptr;
  napi_deferred deferred = nullptr;
  std::unique_ptr<Completion> completion;
  cuda::CUresult result = cuda::CUDA_SUCCESS;
  Pending* previous = nullptr;
  Pending* next = nullptr;
};

namespace {

// Settles with what outcome() returns. An error is made in the same place, since that takes memory,
// too.
template <class Outcome>
void conclude(napi_env env, napi_deferred deferred, const Outcome& outcome) {
  napi_value error = nullptr;
  try {
    const Status status = outcome();
    if (!status.ok()) error = make_error(env, status);
  } catch (const std::bad_alloc&) {
    error = make_error(env, out_of_memory());
  }
  if (error != nullptr) {
    napi_reject_deferred(env, deferred, error);
    return;
  }
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  napi_resolve_deferred(env, deferred, undefined);
}

}  // namespace

// A hook that runs meanwhile may have opened them already.
Status Promises::open() {
  napi_value name = make_string(env_, "fused-rmsnorm");
  napi_threadsafe_function function = nullptr;
  auto mailbox = std::make_shared<Mailbox>();  // first: a function that nobody has stays for good
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                      settle, &function) != napi_ok) {
    return ending();
  }
  if (is_open()) {
    napi_release_threadsafe_function(function, napi_tsfn_abort);
    return {};
  }
  mailbox->open(function);
  mailbox_ = std::move(mailbox);
  function_ = function;
  napi_unref_threadsafe_function(env_, function_);
  return {};
}

void Promises::add(Pending* pending) {
  if (pending_ == nullptr) {
    napi_ref_threadsafe_function(env_, function_);
  } else {
    pending_->previous = pending;
  }
  pending->next = pending_;
  pending_ = pending;
}

void Promises::remove(Pending* pending) {
  (pending->previous != nullptr ? pending->previous->next : pending_) = pending->next;
  if (pending->next != nullptr) pending->next->previous = pending->previous;
  if (pending_ == nullptr) napi_unref_threadsafe_function(env_, function_);
}

void Promises::called_back(cuda::CUstream, cuda::CUresult result, void* data) {
  auto* pending = static_cast<Pending*>(data);
  pending->result = result;
  const std::shared_ptr<Mailbox> mailbox = pending->mailbox;
  if (!mailbox->deliver(pending)) delete pending;
}

// Without an environment the queue of the threadsafe function is just emptied.
void Promises::settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
  if (env == nullptr || pending->deferred == nullptr) return;
  pending->promises->remove(pending.get());
  conclude(env, pending->deferred, [&]() -> Status {
    RMSNORM_TRY(pending->device->note_fault(cuda::check(pending->result, "Work of the stream")));
    return pending->completion == nullptr ? Status() : pending->completion->finish(env);
  });
}

void Promises::close() {
  if (mailbox_ == nullptr) return;
  mailbox_->close([&] {
    for (Pending* pending = pending_; pending != nullptr; pending = pending->next) {
      pending->deferred = nullptr;
      pending->completion.reset();
    }
  });
  pending_ = nullptr;
  mailbox_.reset();
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

Promise::Promise(Promises& promises) : promises_(promises) {}

// JavaScript does not have it, so that the outcome does not matter.
Promise::~Promise() {
  if (pending_ == nullptr || pending_->deferred == nullptr) return;
  conclude(promises_.env_, pending_->deferred, [] { return Status(); });
}

Status Promise::make() {
  if (!promises_.is_open()) return ending();
  auto made = std::make_unique<Promises::Pending>();
  made->promises = &promises_;
  made->mailbox = promises_.mailbox_;
  if (napi_create_promise(promises_.env_, &made->deferred, &value_) != napi_ok) return ending();
  pending_ = std::move(made);
  return {};
}

napi_value Promise::settle_after(cuda::Stream& stream, std::unique_ptr<Completion> completion) {
  Promises::Pending* const pending = pending_.release();
  pending->device = &stream.device();
  pending->completion = std::move(completion);
  promises_.add(pending);
  const auto call_back = [&]() -> Status {
    try {
      return stream.call_back(Promises::called_back, pending);
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
  };
  if (const Status status = call_back(); !status.ok()) {
    promises_.remove(pending);
    conclude(promises_.env_, pending->deferred, [&] { return status; });
    delete pending;
  }
  return value_;
}

}  // namespace rmsnorm::napi
