// Graphs behind JavaScript objects, and the functions over them.
#pragma once

#include <node_api.h>

#include <memory>

#include "../../cuda/runtime/graph.h"
#include "../environment.h"
#include "../method.h"

namespace rmsnorm::napi {

class Graph final : public NativeObject {
 public:
  static constexpr napi_type_tag kTag{0xc30f7a1668de4e95, 0x8b5d21f4a97e06c3};
  static constexpr const char* kKind = "a Graph";

  explicit Graph(std::unique_ptr<cuda::Graph> graph) : graph_(std::move(graph)) {}

  // While it is open.
  cuda::Graph& graph() { return *graph_; }

 private:
  void release() override { graph_.reset(); }

  std::unique_ptr<cuda::Graph> graph_;
};

// As binding.d.ts declares them.
extern const Methods kGraphMethods;

}  // namespace rmsnorm::napi
