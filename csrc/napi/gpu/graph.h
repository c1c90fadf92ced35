// Graphs behind JavaScript objects, and the functions over them.
#pragma once

#include "../../cuda/runtime/graph.h"
#include "../method.h"
#include "object_call.h"

namespace rmsnorm::napi {

struct Graph final : OwningObject<cuda::Graph> {
  static constexpr napi_type_tag kTag{0xc30f7a1668de4e95, 0x8b5d21f4a97e06c3};
  static constexpr const char* kKind = "a Graph";
  using OwningObject::OwningObject;
};

// As binding.d.ts declares them.
extern const Methods kGraphMethods;

}  // namespace rmsnorm::napi
