// Events behind JavaScript objects, and the functions over them.
#pragma once

#include "../../cuda/runtime/event.h"
#include "object_call.h"

namespace rmsnorm::napi {

// Once it is closed, streams that wait for it go on doing so.
struct Event final : OwningObject<cuda::Event> {
  static constexpr napi_type_tag kTag{0x8e52d9b7306f4c1d, 0x92a7c45be81f3d60};
  static constexpr const char* kKind = "a CudaEvent";
  using OwningObject::OwningObject;
};

}  // namespace rmsnorm::napi
