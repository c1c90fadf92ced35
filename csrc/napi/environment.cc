#include "environment.h"

#include <algorithm>
#include <initializer_list>
#include <mutex>
#include <new>
#include <string>

#include "../cpu/thread_pool.h"
#include "../cpu/warm_memory.h"
#include "../cuda/host/backend.h"
#include "../cuda/runtime/allocation.h"
#include "../os/never_destroyed.h"
#include "../os/platform.h"
#include "errors.h"
#include "values.h"

namespace rmsnorm::napi {
namespace {

// All objects, open or closed, that JavaScript may still refer to, in any environment.
std::mutex wrapped_mutex;
std::unordered_set<NativeObject*>& wrapped() {
  static NeverDestroyed<std::unordered_set<NativeObject*>> instance;
  return instance.value;
}

std::mutex environments_mutex;
int environments = 0;

// The JavaScript value at a path from the global object; null if a property cannot be read. Runs
// getters.
napi_value find_value(napi_env env, std::initializer_list<const char*> path) {
  napi_value value = nullptr;
  napi_get_global(env, &value);
  for (const char* const key : path) {
    if (napi_get_named_property(env, value, key, &value) != napi_ok) {
      napi_get_and_clear_last_exception(env, &value);
      return nullptr;
    }
  }
  return value;
}

napi_value value_of(napi_env env, napi_ref reference) {
  napi_value value = nullptr;
  if (reference != nullptr) napi_get_reference_value(env, reference, &value);
  return value;
}

// A variable of JavaScript's process.env, if its value differs from the process's own. They can
// differ because a worker has a copy, which its option `env` may change. Empty if the variable is
// not set or does not differ. Runs getters.
std::optional<std::string> own_variable(napi_env env, const char* name) {
  napi_value value = find_value(env, {"process", "env", name});
  if (value == nullptr) return std::nullopt;
  std::size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok || length == 0) {
    return std::nullopt;
  }
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return environment_variable(name) == text ? std::nullopt : std::optional(text);
}

}  // namespace

NativeObject::~NativeObject() {
  if (environment_ != nullptr) environment_->objects_.erase(this);
  const std::lock_guard lock(wrapped_mutex);
  wrapped().erase(this);
}

void NativeObject::close() {
  if (environment_ == nullptr) return;
  environment_->objects_.erase(this);
  environment_ = nullptr;
  release();
}

Status check_open(const NativeObject& object, const char* name) {
  if (object.is_open()) return {};
  return {Code::kDisposed, std::string("The argument '") + name + "' has been disposed of"};
}

Status Environment::make(napi_env env) {
  std::unique_ptr<Environment> made(new Environment(env));
  napi_value global = nullptr;
  napi_value array_buffer_class = nullptr;
  const auto finalize = [](napi_env, void* ended, void*) {
    delete static_cast<Environment*>(ended);
  };
  if (napi_get_global(env, &global) != napi_ok ||
      napi_get_named_property(env, global, "ArrayBuffer", &array_buffer_class) != napi_ok ||
      napi_create_reference(env, array_buffer_class, 1, &made->array_buffer_class_) != napi_ok ||
      napi_add_env_cleanup_hook(env, end, made.get()) != napi_ok) {
    return ending();
  }
  if (napi_set_instance_data(env, made.get(), finalize, nullptr) != napi_ok) {
    napi_remove_env_cleanup_hook(env, end, made.get());
    return ending();
  }
  napi_valuetype type = napi_undefined;
  napi_value alloc_unsafe_slow = find_value(env, {"Buffer", "allocUnsafeSlow"});
  if (alloc_unsafe_slow != nullptr && napi_typeof(env, alloc_unsafe_slow, &type) == napi_ok &&
      type == napi_function) {
    napi_create_reference(env, alloc_unsafe_slow, 1, &made->alloc_unsafe_slow_);
  }
  // If a thread loads the addon several times, it uses the count of the first load.
  const auto threads = own_variable(env, "RMSNORM_NUM_THREADS");
  if (threads && cpu::own_thread_count() == nullptr) {
    cpu::use_own_thread_count(&made->threads_.emplace(cpu::read_thread_count(*threads)));
  }
  made.release();
  const std::lock_guard lock(environments_mutex);
  ++environments;
  return {};
}

Status Environment::of(napi_env env, Environment** environment) {
  void* data = nullptr;
  if (napi_get_instance_data(env, &data) != napi_ok || data == nullptr) return ending();
  *environment = static_cast<Environment*>(data);
  return (*environment)->is_closed_ ? ending() : Status();
}

napi_value Environment::array_buffer_class() const { return value_of(env_, array_buffer_class_); }
napi_value Environment::alloc_unsafe_slow() const { return value_of(env_, alloc_unsafe_slow_); }

// Cleanup hooks run in reverse order. Our hook is added again after the threadsafe function is
// made, so that it runs before the hook that ends that function.
Status Environment::open_mailbox() {
  if (mailbox_->is_open()) return {};
  RMSNORM_TRY(mailbox_->open());
  napi_remove_env_cleanup_hook(env_, end, this);
  return napi_add_env_cleanup_hook(env_, end, this) == napi_ok ? Status() : ending();
}

// The last environment to end also joins the CPU threads, releases the GPUs and frees cached
// memory, before Node.js tears down the process. Node.js has already waited for the calls in its
// pool.
void Environment::end(void* environment) {
  static_cast<Environment*>(environment)->close();
  const std::lock_guard lock(environments_mutex);
  if (--environments != 0) return;
  cuda::release();
  cpu::join_threads();
  cpu::free_cached_memory();
}

Status Environment::default_stream(cuda::Device& device, cuda::StreamPtr* stream) {
  if (const auto known = default_streams_.find(&device); known != default_streams_.end()) {
    *stream = known->second;
    return {};
  }
  RMSNORM_TRY(cuda::Stream::make(device, stream));
  default_streams_.emplace(&device, *stream);
  return {};
}

Status Environment::idle_stream(cuda::Device& device, cuda::StreamPtr* stream) {
  // A stream numbers its work, and a promise's callback counts as work, too. The callback has the
  // last number here. A promise that settles notes only the work before its callback as passed. So
  // the stream is idle once the work before the last number has passed.
  const auto is_idle = [&](const cuda::StreamPtr& each) {
    const std::uint64_t calls = each->enqueued();
    return &each->device() == &device && (calls == 0 || each->order().has_passed(calls - 1));
  };
  const auto idle = std::find_if(promise_streams_.begin(), promise_streams_.end(), is_idle);
  if (idle != promise_streams_.end()) {
    *stream = *idle;
    return {};
  }
  promise_streams_.reserve(promise_streams_.size() + 1);
  RMSNORM_TRY(cuda::Stream::make_callback_stream(device, stream));
  promise_streams_.push_back(*stream);
  return {};
}

Status Environment::wrap(std::unique_ptr<NativeObject> object, napi_value* value) {
  const auto finalize = [](napi_env, void* finalized, void*) {
    auto* object = static_cast<NativeObject*>(finalized);
    object->close();
    delete object;
  };
  object->environment_ = this;
  objects_.insert(object.get());
  {
    const std::lock_guard lock(wrapped_mutex);
    wrapped().insert(object.get());
  }
  if (napi_create_external(env_, object.get(), finalize, nullptr, value) != napi_ok) {
    object->close();
    return ending();
  }
  object.release();
  return {};
}

void Environment::close_stream(cuda::Stream& stream) noexcept {
  stream.close();
  for (const std::shared_ptr<cuda::Fence>& fence : {stream.fence(), stream.callback_fence()}) {
    if (fence == nullptr || fence->has_passed()) continue;
    std::erase_if(closed_stream_fences_, [](const auto& earlier) { return earlier->has_passed(); });
    try {
      closed_stream_fences_.push_back(fence);
    } catch (const std::bad_alloc&) {
      fence->wait();
    }
  }
}

// Closes the objects; their finalizers run later and find them closed. Waits only for the work that
// this environment enqueued, because other environments may use or capture the same devices. Waits
// for its callbacks, too, because the addon's code may be unloaded with the environment.
void Environment::close() {
  is_closed_ = true;
  if (threads_ && cpu::own_thread_count() == &*threads_) cpu::use_own_thread_count(nullptr);
  napi_delete_reference(env_, array_buffer_class_);
  if (alloc_unsafe_slow_ != nullptr) napi_delete_reference(env_, alloc_unsafe_slow_);
  async_calls_.close();
  while (!objects_.empty()) (*objects_.begin())->close();
  for (const auto& [device, stream] : default_streams_) close_stream(*stream);
  default_streams_.clear();
  for (const cuda::StreamPtr& stream : promise_streams_) close_stream(*stream);
  promise_streams_.clear();
  staging_.reset();
  for (const std::shared_ptr<cuda::Fence>& fence : closed_stream_fences_) fence->wait();
  closed_stream_fences_.clear();
  cuda::empty_pool();
  mailbox_->close();
}

// Another addon may have made the external value. So its pointer is not used before it is found
// among the known objects. Open objects, the usual case, are found without a lock.
NativeObject* find_native_object(napi_env env, napi_value value) {
  void* data = nullptr;
  void* environment = nullptr;
  if (value == nullptr || napi_get_value_external(env, value, &data) != napi_ok) return nullptr;
  auto* const object = static_cast<NativeObject*>(data);
  if (napi_get_instance_data(env, &environment) == napi_ok && environment != nullptr &&
      static_cast<Environment*>(environment)->has_open(object)) {
    return object;
  }
  const std::lock_guard lock(wrapped_mutex);
  return wrapped().contains(object) ? object : nullptr;
}

}  // namespace rmsnorm::napi
