// Node.js calls the finalizer of an external ArrayBuffer in two cases:
//
// - V8 has freed the backing store: no ArrayBuffer of any thread has it. Then the memory is freed.
// - The environment ends. Node.js first detaches the external ArrayBuffer, if that still has the
//   memory. But ArrayBuffer.prototype.transfer may have moved the memory to another ArrayBuffer,
//   perhaps in another thread. Node.js does not report when V8 frees that other ArrayBuffer. So if
//   the memory was moved, it is never freed.
//
// A witness tells the cases apart. It is a hidden ArrayBuffer, made after the external ArrayBuffer.
// An ending environment calls finalizers from the newest to the oldest. So the witness's finalizer
// runs before Node.js detaches the external ArrayBuffer, and sees it as JavaScript left it. While
// the memory is in use, only the end of the environment finalizes a witness.
#include "external_memory.h"

#include <map>
#include <mutex>

#include "../../os/never_destroyed.h"

namespace rmsnorm::napi {
namespace {

struct External {
  cuda::AllocationPtr allocation;
  napi_ref array_buffer = nullptr;  // weak
  napi_ref witness = nullptr;       // strong
  bool is_ending = false;           // the witness was finalized: the environment is ending
  bool has_memory = false;          // whether the ArrayBuffer had the memory when last checked
};

// External ArrayBuffers of all threads. A runtime that refuses an ArrayBuffer may have called its
// finalizer already, may call it later, or never. So the finalizer gets a number, not an address:
// it does nothing if the map no longer has the number.
using Externals = std::map<ExternalMemory, External>;
std::mutex externals_mutex;
Externals& externals() {
  static NeverDestroyed<Externals> instance;
  return instance.value;
}

ExternalMemory number_of(void* hint) { return reinterpret_cast<ExternalMemory>(hint); }
void* hint_of(ExternalMemory number) { return reinterpret_cast<void*>(number); }

External* find(ExternalMemory number) {
  const std::lock_guard lock(externals_mutex);
  const auto found = externals().find(number);
  return found == externals().end() ? nullptr : &found->second;
}

Externals::node_type take(ExternalMemory number) {
  const std::lock_guard lock(externals_mutex);
  return externals().extract(number);
}

// The ArrayBuffer of make_external_array_buffer(); null unless it still has the memory.
napi_value attached_array_buffer(napi_env env, const External& external) {
  napi_value array_buffer = nullptr;
  bool is_detached = true;
  if (external.array_buffer == nullptr ||
      napi_get_reference_value(env, external.array_buffer, &array_buffer) != napi_ok ||
      array_buffer == nullptr ||
      napi_is_detached_arraybuffer(env, array_buffer, &is_detached) != napi_ok || is_detached) {
    return nullptr;
  }
  return array_buffer;
}

void finalize_witness(napi_env env, void*, void* hint) {
  External* const external = find(number_of(hint));
  if (external == nullptr) return;
  external->is_ending = true;
  external->has_memory = attached_array_buffer(env, *external) != nullptr;
}

void finalize(napi_env env, void*, void* hint) {
  const Externals::node_type node = take(number_of(hint));
  if (node.empty()) return;
  External& external = node.mapped();
  if (external.is_ending && !external.has_memory) external.allocation->keep_until_exit();
  for (const napi_ref reference : {external.array_buffer, external.witness}) {
    if (reference != nullptr) napi_delete_reference(env, reference);
  }
}

napi_status make_witness(napi_env env, ExternalMemory number, napi_ref* reference) {
  static char nothing = 0;
  napi_value witness = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, &nothing, 1, finalize_witness,
                                                              hint_of(number), &witness);
  return status == napi_ok ? napi_create_reference(env, witness, 1, reference) : status;
}

Status refused(napi_env env, napi_status status) {
  bool is_pending = false;
  napi_value exception = nullptr;
  if (napi_is_exception_pending(env, &is_pending) == napi_ok && is_pending) {
    napi_get_and_clear_last_exception(env, &exception);
  }
  if (status == napi_no_external_buffers_allowed) {
    return {Code::kInvalidState,
            "This JavaScript runtime does not allow an ArrayBuffer over page-locked memory. Run in "
            "Node.js, or use typed arrays instead of a HostBuffer"};
  }
  return {Code::kInvalidState,
          "The JavaScript runtime refused an ArrayBuffer over the page-locked memory"};
}

}  // namespace

Status make_external_array_buffer(napi_env env, const cuda::AllocationPtr& allocation,
                                  napi_value* array_buffer, ExternalMemory* memory) {
  static ExternalMemory last_number = 0;
  External* external = nullptr;
  {
    const std::lock_guard lock(externals_mutex);
    external = &externals()[last_number + 1];
    *memory = ++last_number;
  }
  external->allocation = allocation;
  napi_status status = napi_create_external_arraybuffer(
      env, allocation->host(), static_cast<std::size_t>(allocation->bytes()), finalize,
      hint_of(*memory), array_buffer);
  if (status != napi_ok) {
    take(*memory);
    return refused(env, status);
  }
  // If a reference cannot be made below, JavaScript never gets the ArrayBuffer. So it still has the
  // memory when it is finalized.
  external->has_memory = true;
  status = napi_create_reference(env, *array_buffer, 0, &external->array_buffer);
  if (status == napi_ok) status = make_witness(env, *memory, &external->witness);
  return status == napi_ok ? Status() : refused(env, status);
}

void detach_external_array_buffer(napi_env env, ExternalMemory memory) {
  const External* const external = find(memory);
  if (external == nullptr) return;
  const napi_value array_buffer = attached_array_buffer(env, *external);
  if (array_buffer != nullptr) napi_detach_arraybuffer(env, array_buffer);
}

}  // namespace rmsnorm::napi
