#include "promise.h"

#include <mutex>

#include "arguments.h"
#include "results.h"

namespace rmsnorm::napi {

// Where callbacks deliver: open as long as the environment is there to take it. Outlives it, for
// callbacks that come later.
class Promises::Mailbox {
 public:
  explicit Mailbox(napi_threadsafe_function function) : function_(function) {}

  bool deliver(Pending* pending) {
    const std::lock_guard lock(mutex_);
    return function_ != nullptr &&
           napi_call_threadsafe_function(function_, pending, napi_tsfn_nonblocking) == napi_ok;
  }
  // From now on callbacks delete what they can not deliver. `forget` is called before any does.
  template <class Forget>
  void close(const Forget& forget) {
    const std::lock_guard lock(mutex_);
    function_ = nullptr;
    forget();
  }

 private:
  std::mutex mutex_;
  napi_threadsafe_function function_;
};

// Whoever is the last to hear of it deletes it: the thread of JavaScript, or a callback that finds
// the environment gone.
struct Promises::Pending {
  Promises* promises;
  std::shared_ptr<Mailbox> mailbox;
  cuda::Device* device;
  napi_deferred deferred = nullptr;
  std::unique_ptr<Completion> completion;
  cuda::CUresult result = cuda::CUDA_SUCCESS;
};

Promises::Promises(napi_env env) : env_(env) {}
Promises::~Promises() { close(); }

Status Promises::open() {
  napi_value name = make_string(env_, "fused-rmsnorm");
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                      settle, &function_) != napi_ok) {
    return {Code::kInvalidState, "The environment is ending"};
  }
  napi_unref_threadsafe_function(env_, function_);
  mailbox_ = std::make_shared<Mailbox>(function_);
  return {};
}

Status Promises::when_passed(cuda::Queue& queue, std::unique_ptr<Completion> completion,
                             napi_value* promise) {
  auto pending = std::make_unique<Pending>();
  pending->promises = this;
  pending->mailbox = mailbox_;
  pending->device = &queue.device();
  pending->completion = std::move(completion);
  if (mailbox_ == nullptr || napi_create_promise(env_, &pending->deferred, promise) != napi_ok) {
    return {Code::kInvalidState, "The environment is ending"};
  }
  if (pending_.empty()) napi_ref_threadsafe_function(env_, function_);
  pending_.insert(pending.get());
  if (const Status status = queue.call_back(called_back, pending.get()); !status.ok()) {
    pending_.erase(pending.get());
    if (pending_.empty()) napi_unref_threadsafe_function(env_, function_);
    napi_reject_deferred(env_, pending->deferred, make_error(env_, status));
    return {};
  }
  pending.release();  // to the callback
  return {};
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
  Promises& promises = *pending->promises;
  promises.pending_.erase(pending.get());
  if (promises.pending_.empty()) napi_unref_threadsafe_function(env, promises.function_);
  Status status = pending->device->note_fault(cuda::check(pending->result, "Work of the stream"));
  if (status.ok() && pending->completion != nullptr) status = pending->completion->finish(env);
  if (status.ok()) {
    napi_value undefined = nullptr;
    napi_get_undefined(env, &undefined);
    napi_resolve_deferred(env, pending->deferred, undefined);
  } else {
    napi_reject_deferred(env, pending->deferred, make_error(env, status));
  }
}

void Promises::close() {
  if (mailbox_ == nullptr) return;
  mailbox_->close([&] {
    for (Pending* pending : pending_) {
      pending->deferred = nullptr;
      pending->completion.reset();
    }
  });
  pending_.clear();
  mailbox_.reset();
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

}  // namespace rmsnorm::napi
