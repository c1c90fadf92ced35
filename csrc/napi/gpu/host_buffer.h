// Page-locked memory behind JavaScript objects, and the functions over it.
#pragma once

#include <node_api.h>

#include "../../cuda/runtime/allocation.h"
#include "../environment.h"
#include "../method.h"
#include "external_memory.h"

namespace rmsnorm::napi {

class HostBuffer final : public NativeObject {
 public:
  static constexpr napi_type_tag kTag{0x57a9e8d2c40b4f13, 0xae06b3587d92f14e};
  static constexpr const char* kKind = "a HostBuffer";

  HostBuffer(napi_env env, cuda::AllocationPtr allocation)
      : env_(env), allocation_(std::move(allocation)) {}

  // The ArrayBuffer over the memory, which keeps it, too, and is detached when this closes. This
  // must be reachable as long as the ArrayBuffer is: a finalizer closes, too.
  Status make_array_buffer(napi_value* array_buffer);

  // While it is open.
  const cuda::AllocationPtr& allocation() const { return allocation_; }

 private:
  void release() override;

  napi_env env_;
  cuda::AllocationPtr allocation_;
  ExternalMemory memory_ = 0;
};

// As binding.d.ts declares them.
extern const Methods kHostBufferMethods;

}  // namespace rmsnorm::napi
