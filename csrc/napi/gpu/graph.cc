#include "graph.h"

#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

Status begin(ObjectCall& call) {
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  return stream->queue()->begin_capture();
}

Status end(ObjectCall& call) {
  Stream* stream = nullptr;
  std::unique_ptr<cuda::Graph> graph;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  RMSNORM_TRY(cuda::Graph::end_capture(*stream->queue(), &graph));
  napi_value value = nullptr;
  RMSNORM_TRY(call.environment().wrap(std::make_unique<Graph>(std::move(graph)), &value));
  call.returns(value);
  return {};
}

// Never fails on a stream, open or not.
Status abandon(ObjectCall& call) {
  const auto* stream = find_object<Stream>(call.env(), call.argument(0));
  if (stream == nullptr) return call.wrong_type(0, "stream", Stream::kKind);
  if (stream->is_open()) stream->queue()->abandon_capture();
  return {};
}

Status launch(ObjectCall& call) {
  Graph* graph = nullptr;
  cuda::QueuePtr queue;
  RMSNORM_TRY(call.object(0, "graph", &graph));
  RMSNORM_TRY(read_queue(call, 1, graph->graph().device(), &queue));
  return graph->graph().launch(queue);
}

}  // namespace

napi_value begin_capture(napi_env env, napi_callback_info info) {
  return object_callback<begin>(env, info);
}
napi_value end_capture(napi_env env, napi_callback_info info) {
  return object_callback<end>(env, info);
}
napi_value abandon_capture(napi_env env, napi_callback_info info) {
  return object_callback<abandon>(env, info);
}
napi_value launch_graph(napi_env env, napi_callback_info info) {
  return object_callback<launch>(env, info);
}

}  // namespace rmsnorm::napi
