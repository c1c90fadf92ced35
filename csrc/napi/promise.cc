#include "promise.h"

#include <new>

#include "async_calls.h"
#include "errors.h"
#include "results.h"

namespace rmsnorm::napi {

// A promise that has not settled. Its last user deletes it: the JavaScript thread, or a callback
// that finds that the environment has ended.
struct Mailbox::Pending {
  std::shared_ptr<Mailbox> mailbox;
  cuda::Device* device = nullptr;
  std::shared_ptr<cuda::StreamOrder> order;  // the stream's progress
  std::uint64_t enqueued = 0;                // number of the last work before the callback
  napi_deferred deferred = nullptr;
  std::unique_ptr<Completion> completion;
  cuda::CUresult result = cuda::CUDA_SUCCESS;
};

// Making the threadsafe function runs hooks of node:async_hooks. They may open the mailbox
// meanwhile: then the second function is released.
Status Mailbox::open() {
  napi_value name = make_string(env_, kResourceName);
  napi_threadsafe_function function = nullptr;
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, &calls_,
                                      arrive, &function) != napi_ok) {
    return ending();
  }
  if (is_open()) {
    napi_release_threadsafe_function(function, napi_tsfn_abort);
    return {};
  }
  napi_unref_threadsafe_function(env_, function);
  const std::lock_guard lock(mutex_);
  function_ = function;
  return {};
}

void Mailbox::ref() {
  if (refs_++ == 0) napi_ref_threadsafe_function(env_, function_);
}

void Mailbox::unref() {
  if (--refs_ == 0) napi_unref_threadsafe_function(env_, function_);
}

void Mailbox::remove(Pending* pending) {
  pending_.erase(pending);
  unref();
}

bool Mailbox::deliver(Pending* pending) {
  const std::lock_guard lock(mutex_);
  return function_ != nullptr &&
         napi_call_threadsafe_function(function_, pending, napi_tsfn_nonblocking) == napi_ok;
}

void Mailbox::called_back(cuda::CUstream, cuda::CUresult result, void* data) {
  auto* pending = static_cast<Pending*>(data);
  pending->result = result;
  const std::shared_ptr<Mailbox> mailbox = pending->mailbox;
  if (!mailbox->deliver(pending)) delete pending;
}

// Node.js passes a null `env` when the environment has ended and it only empties the queue of the
// threadsafe function. A null `data` is a message of wake().
void Mailbox::arrive(napi_env env, napi_value, void* calls, void* data) {
  const std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
  if (env == nullptr) return;
  if (pending == nullptr) return static_cast<AsyncCalls*>(calls)->enter_pool();
  pending->mailbox->remove(pending.get());
  settle(env, pending->deferred, [&](napi_value*) -> Status {
    RMSNORM_TRY(pending->device->note_fault(cuda::check(pending->result, "Work of the stream")));
    pending->order->note_passed(pending->enqueued);
    return pending->completion == nullptr ? Status() : pending->completion->complete(env);
  });
}

// From now on callbacks delete what they cannot deliver.
void Mailbox::close() {
  if (!is_open()) return;
  const std::lock_guard lock(mutex_);
  for (Pending* pending : pending_) pending->completion.reset();
  pending_.clear();
  napi_release_threadsafe_function(std::exchange(function_, nullptr), napi_tsfn_abort);
}

// JavaScript never got the promise, so its outcome does not matter.
Promise::~Promise() {
  if (pending_ != nullptr) settle({});
}

void Promise::settle(const Status& status) {
  const std::unique_ptr<Mailbox::Pending> pending(std::exchange(pending_, nullptr));
  mailbox_->remove(pending.get());
  napi::settle(mailbox_->env_, pending->deferred, [&](napi_value*) { return status; });
}

Status Promise::make() {
  if (!mailbox_->is_open()) return ending();
  auto made = std::make_unique<Mailbox::Pending>();
  made->mailbox = mailbox_;
  if (napi_create_promise(mailbox_->env_, &made->deferred, &value_) != napi_ok) return ending();
  mailbox_->pending_.insert(made.get());
  mailbox_->ref();
  pending_ = made.release();
  return {};
}

napi_value Promise::settle_after(cuda::Stream& stream, std::unique_ptr<Completion> completion) {
  pending_->device = &stream.device();
  pending_->order = stream.shared_order();
  pending_->enqueued = stream.enqueued();
  pending_->completion = std::move(completion);
  const auto call_back = [&]() -> Status {
    try {
      return stream.call_back(Mailbox::called_back, pending_);
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
  };
  const Status status = call_back();
  if (!status.ok()) settle(status);
  pending_ = nullptr;
  return value_;
}

}  // namespace rmsnorm::napi
