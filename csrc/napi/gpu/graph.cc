#include "graph.h"

#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

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
  const auto* stream = find_object<Stream>(call.env(), call.argument(0));
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

constinit const Methods kGraphMethods = kMethods;

}  // namespace rmsnorm::napi
