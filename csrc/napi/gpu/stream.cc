#include "stream.h"

#include "../../cuda/runtime/graph.h"

namespace rmsnorm::napi {
namespace {

using cuda::StreamPtr;

Status make(ObjectCall& call, StreamPtr stream, bool is_default) {
  return call.returns_object(
      std::make_unique<Stream>(call.environment(), std::move(stream), is_default));
}

Status create(ObjectCall& call, cuda::Device& device) {
  StreamPtr stream;
  RMSNORM_TRY(cuda::Stream::make(device, &stream));
  return make(call, std::move(stream), false);
}

Status create_foreign(ObjectCall& call, cuda::Device& device) {
  std::uint64_t pointer = 0;
  StreamPtr stream;
  RMSNORM_TRY(call.pointer(1, &pointer));
  RMSNORM_TRY(cuda::Stream::adopt(device, reinterpret_cast<cuda::CUstream>(pointer), &stream));
  return make(call, std::move(stream), false);
}

Status find_default(ObjectCall& call, cuda::Device& device) {
  StreamPtr stream;
  RMSNORM_TRY(call.environment().default_stream(device, &stream));
  return make(call, std::move(stream), true);
}

Status get_pointer(ObjectCall& call, Stream& stream) {
  call.returns_pointer(reinterpret_cast<std::uint64_t>(stream.get()->share()));
  return {};
}

Status synchronize(ObjectCall&, Stream& stream) { return stream.get()->synchronize(); }

Status when_passed(ObjectCall& call) {
  Promise promise(call.environment().mailbox());  // first, since this may run JavaScript
  RMSNORM_TRY(promise.make());
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  call.returns(promise.settle_after(*stream->get(), nullptr));
  return {};
}

Status is_idle(ObjectCall& call, Stream& stream) {
  bool has_passed = false;
  RMSNORM_TRY(stream.get()->has_passed(&has_passed));
  call.returns_boolean(has_passed);
  return {};
}

Status wait(ObjectCall& call, Stream& stream) {
  Event* event = nullptr;
  RMSNORM_TRY(call.object(1, "event", &event));
  return stream.get()->wait_for(event->get());
}

struct Graph final : OwningObject<cuda::Graph> {
  static constexpr const char* kKind = "a Graph";
  static constexpr const char* kName = "graph";
  using OwningObject::OwningObject;
};

Status begin_capture(ObjectCall&, Stream& stream) { return stream.get()->begin_capture(); }

Status end_capture(ObjectCall& call, Stream& stream) {
  std::unique_ptr<cuda::Graph> graph;
  RMSNORM_TRY(cuda::Graph::end_capture(*stream.get(), &graph));
  return call.returns_object(std::make_unique<Graph>(std::move(graph)));
}

// Never fails on a stream, open or closed.
Status abandon_capture(ObjectCall& call) {
  const auto* stream = find_object<Stream>(call.env(), call[0]);
  if (stream == nullptr) return call.wrong_type(0, "stream", Stream::kKind);
  if (stream->is_open()) stream->get()->abandon_capture();
  return {};
}

Status launch_graph(ObjectCall& call, Graph& graph) {
  cuda::StreamPtr stream;
  RMSNORM_TRY(read_stream(call, 1, graph.get().device(), &stream));
  return graph.get().launch(stream);
}

constexpr napi_property_descriptor kMethods[] = {
    method<create>("createStream"),
    method<create_foreign>("foreignStream"),
    method<find_default>("defaultStream"),
    method<get_pointer>("streamPointer"),
    method<synchronize>("streamSynchronize"),
    method<when_passed>("streamPassed"),
    method<is_idle>("streamIsIdle"),
    method<wait>("streamWait"),
    method<begin_capture>("beginCapture"),
    method<end_capture>("endCapture"),
    method<abandon_capture>("abandonCapture"),
    method<launch_graph>("launchGraph"),
};

}  // namespace

Status read_stream(Environment& environment, napi_value argument, cuda::Device& device,
                   StreamPtr* stream) {
  const napi_env env = environment.env();
  napi_valuetype type = napi_undefined;
  if (argument != nullptr) napi_typeof(env, argument, &type);
  if (type == napi_undefined || type == napi_null) {
    return environment.default_stream(device, stream);
  }
  const auto* object = find_object<Stream>(env, argument);
  if (object == nullptr) {
    return argument_error(env, Code::kWrongType, "stream", Stream::kKind, argument);
  }
  RMSNORM_TRY(check_open(*object, "stream"));
  if (&object->get()->device() != &device) {
    return {Code::kInvalidValue, "The argument 'stream' must be a Stream on " + device.name() +
                                     ", the device that this call uses"};
  }
  *stream = object->get();
  return {};
}

constinit const Methods kStreams = kMethods;

}  // namespace rmsnorm::napi
