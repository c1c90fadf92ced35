// Names of the addon, and what happens when an environment (the main thread, a worker) loads it and
// ends. What is shared by environments is process-wide and lives in the backends.

#include <node_api.h>

#include <mutex>

#include "../cpu/thread_pool.h"
#include "../cuda/backend.h"
#include "calls.h"
#include "objects.h"
#include "output_memory.h"
#include "plain_calls.h"
#include "plan.h"

namespace rmsnorm::napi {
namespace {

std::mutex environments_mutex;
int environments = 0;

// Threads end and GPUs are let go of with the last environment, before Node tears the process down
// around them. Node has waited for the calls in flight.
void leave(void*) {
  const std::lock_guard lock(environments_mutex);
  if (--environments != 0) return;
  cuda::release();
  cpu::join_threads();
  release_outputs();
}

napi_value init(napi_env env, napi_value exports) {
  {
    const std::lock_guard lock(environments_mutex);
    ++environments;
  }
  napi_add_env_cleanup_hook(env, leave, nullptr);

  constexpr auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{
        name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  };
  const napi_property_descriptor methods[] = {
      method("forward", forward),
      method("backward", backward),
      method("plainForward", plain_forward),
      method("plainBackward", plain_backward),
      method("forwardAsync", forward_async),
      method("backwardAsync", backward_async),
      method("createPlan", create_plan),
      method("createOutput", create_output),
      method("convert", convert),
      method("cpuVariants", cpu_variants),
      method("cpuVariant", cpu_variant),
      method("setCpuVariant", set_cpu_variant),
      method("devices", devices),
      method("numThreads", num_threads),
      method("setNumThreads", set_num_threads),
  };
  napi_define_properties(env, exports, std::size(methods), methods);
  napi_set_named_property(env, exports, "cuda", make_objects(env));
  napi_value least_bytes = nullptr;
  napi_create_int64(env, kLeastRecycledBytes, &least_bytes);
  napi_set_named_property(env, exports, "leastRecycledBytes", least_bytes);
  return exports;
}

}  // namespace
}  // namespace rmsnorm::napi

NAPI_MODULE_INIT() { return rmsnorm::napi::init(env, exports); }
