#include "../../cuda/runtime/graph.h"

#include "object_call.h"
#include "objects.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

struct Graph final : OwningObject<cuda::Graph> {
  static constexpr napi_type_tag kTag{0xc30f7a1668de4e95, 0x8b5d21f4a97e06c3};
  static constexpr const char* kKind = "a Graph";
  using OwningObject::OwningObject;
};

Status begin(ObjectCall& call) {
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  return stream->get()->begin_capture();
}

Status end(ObjectCall& call) {
  Stream* stream = nullptr;
  std::unique_ptr<cuda::Graph> graph;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  RMSNORM_TRY(cuda::Graph::end_capture(*stream->get(), &graph));
  return call.returns_object(std::make_unique<Graph>(std::move(graph)));
}

// Never fails on a stream, open or not.
Status abandon(ObjectCall& call) {
  const auto* stream = find_object<Stream>(call.env(), call[0]);
  if (stream == nullptr) return call.wrong_type(0, "stream", Stream::kKind);
  if (stream->is_open()) stream->get()->abandon_capture();
  return {};
}

Status launch(ObjectCall& call) {
  Graph* graph = nullptr;
  cuda::StreamPtr stream;
  RMSNORM_TRY(call.object(0, "graph", &graph));
  RMSNORM_TRY(read_stream(call, 1, graph->get().device(), &stream));
  return graph->get().launch(stream);
}

constexpr napi_property_descriptor kMethods[] = {
    object_method<begin>("beginCapture"),
    object_method<end>("endCapture"),
    object_method<abandon>("abandonCapture"),
    object_method<launch>("launchGraph"),
};

}  // namespace

constinit const ObjectClass kGraphs = {Graph::kTag, kMethods};

}  // namespace rmsnorm::napi
