#include "output_memory.h"

#include <atomic>
#include <string>

#include "../memory/block_pool.h"
#include "../memory/pages.h"

namespace rmsnorm::napi {
namespace {

// Lent or kept: twice what a loop over outputs of 32 MiB has in flight. A program that holds on to
// more, or never comes to a turn of the event loop, in which memory comes back, has ordinary memory
// beyond it.
constexpr std::int64_t kMostRecycledBytes = std::int64_t{256} << 20;

// Never destroyed: finalizers may run when the process ends.
memory::BlockPool& recycled() {
  static auto* const pool = new memory::BlockPool(kMostRecycledBytes);
  return *pool;
}

// False for good in runtimes that keep the memory of ArrayBuffers in a cage, such as Electron.
std::atomic<bool> may_be_external{true};

bool read_array_buffer(napi_env env, napi_value value, std::int64_t bytes, void** data) {
  bool is_array_buffer = false;
  std::size_t length = 0;
  return napi_is_arraybuffer(env, value, &is_array_buffer) == napi_ok && is_array_buffer &&
         napi_get_arraybuffer_info(env, value, data, &length) == napi_ok &&
         length == static_cast<std::size_t>(bytes);
}

void clear_exception(napi_env env) {
  napi_value exception = nullptr;
  napi_get_and_clear_last_exception(env, &exception);
}

// Node.js does not let external ArrayBuffers be transferred to other threads: their finalizers run
// when the environment that made them ends, wherever they are. That of the main thread ends last,
// so here nothing speaks against it, and another ArrayBuffer over the same memory does not have the
// mark. Node.js 20 has no such function: it copies what it is told to transfer. False if the memory
// is lost, to a function of the program's that is called so.
bool make_transferable(napi_env env, std::int64_t bytes, napi_value* buffer, void* data) {
  napi_value transfer = nullptr;
  napi_valuetype type = napi_undefined;
  if (napi_get_named_property(env, *buffer, "transfer", &transfer) != napi_ok ||
      napi_typeof(env, transfer, &type) != napi_ok || type != napi_function) {
    clear_exception(env);
    return true;
  }
  void* moved = nullptr;
  if (napi_call_function(env, *buffer, transfer, 0, nullptr, buffer) != napi_ok) {
    clear_exception(env);
    return false;
  }
  return read_array_buffer(env, *buffer, bytes, &moved) && moved == data;
}

bool make_recycled(napi_env env, std::int64_t bytes, napi_value* buffer, void** data) {
  if (bytes < kLeastRecycledBytes || !memory::is_main_thread() ||
      !may_be_external.load(std::memory_order_relaxed)) {
    return false;
  }
  *data = recycled().lend(bytes);
  if (*data == nullptr) return false;
  const auto finalize = [](napi_env, void* block, void* hint) {
    recycled().take_back(block, reinterpret_cast<std::intptr_t>(hint));
  };
  const napi_status status = napi_create_external_arraybuffer(
      env, *data, static_cast<std::size_t>(bytes), finalize,
      reinterpret_cast<void*>(static_cast<std::intptr_t>(bytes)), buffer);
  if (status == napi_no_external_buffers_allowed) {
    may_be_external.store(false, std::memory_order_relaxed);
    recycled().take_back(*data, bytes);
    return false;
  }
  // After any other failure there may be an ArrayBuffer all the same, and a finalizer to come.
  if (status != napi_ok) {
    clear_exception(env);
    return false;
  }
  return make_transferable(env, bytes, buffer, *data);
}

// By JavaScript's constructor, which throws where Node-API's function would end the process.
bool make_plain(napi_env env, std::int64_t bytes, napi_value* buffer, void** data) {
  napi_value global = nullptr;
  napi_value constructor = nullptr;
  napi_value length = nullptr;
  napi_create_double(env, static_cast<double>(bytes), &length);
  if (napi_get_global(env, &global) != napi_ok ||
      napi_get_named_property(env, global, "ArrayBuffer", &constructor) != napi_ok ||
      napi_new_instance(env, constructor, 1, &length, buffer) != napi_ok) {
    clear_exception(env);
    return false;
  }
  if (!read_array_buffer(env, *buffer, bytes, data)) return false;
  memory::advise_huge_pages(*data, bytes);
  return true;
}

}  // namespace

Status make_output(napi_env env, std::int64_t bytes, napi_value* buffer, void** data) {
  if (make_recycled(env, bytes, buffer, data) || make_plain(env, bytes, buffer, data)) return {};
  return {Code::kOutOfMemory, "Out of memory: no room for " + std::to_string(bytes) + " bytes"};
}

void release_outputs() { recycled().unmap_kept(); }

}  // namespace rmsnorm::napi
