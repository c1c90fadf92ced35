#include "stream.h"

#include "event.h"

namespace rmsnorm::napi {
namespace {

using cuda::QueuePtr;

Status make(ObjectCall& call, QueuePtr queue, bool is_default) {
  return call.returns_object(
      std::make_unique<Stream>(call.environment(), std::move(queue), is_default));
}

Status create(ObjectCall& call) {
  cuda::Device* device = nullptr;
  QueuePtr queue;
  RMSNORM_TRY(call.device(0, &device));
  RMSNORM_TRY(cuda::Queue::make(*device, &queue));
  return make(call, std::move(queue), false);
}

Status create_foreign(ObjectCall& call) {
  cuda::Device* device = nullptr;
  std::uint64_t pointer = 0;
  QueuePtr queue;
  RMSNORM_TRY(call.device(0, &device));
  RMSNORM_TRY(call.pointer(1, &pointer));
  RMSNORM_TRY(cuda::Queue::adopt(*device, reinterpret_cast<cuda::CUstream>(pointer), &queue));
  return make(call, std::move(queue), false);
}

Status find_default(ObjectCall& call) {
  cuda::Device* device = nullptr;
  QueuePtr queue;
  RMSNORM_TRY(call.device(0, &device));
  RMSNORM_TRY(call.environment().default_queue(*device, &queue));
  return make(call, std::move(queue), true);
}

Status get_pointer(ObjectCall& call) {
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  call.returns_pointer(reinterpret_cast<std::uint64_t>(stream->queue()->share()));
  return {};
}

Status synchronize(ObjectCall& call) {
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  return stream->queue()->synchronize();
}

Status when_passed(ObjectCall& call) {
  Promise promise(call.environment().promises());  // first, since this may run JavaScript
  RMSNORM_TRY(promise.make());
  Stream* stream = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  call.returns(promise.settle_after(*stream->queue(), nullptr));
  return {};
}

Status is_idle(ObjectCall& call) {
  Stream* stream = nullptr;
  bool has_passed = false;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  RMSNORM_TRY(stream->queue()->has_passed(&has_passed));
  call.returns_boolean(has_passed);
  return {};
}

Status wait(ObjectCall& call) {
  Stream* stream = nullptr;
  Event* event = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  RMSNORM_TRY(call.object(1, "event", &event));
  return stream->queue()->wait_for(event->get());
}

constexpr napi_property_descriptor kMethods[] = {
    object_method<create>("createStream"),           object_method<create_foreign>("foreignStream"),
    object_method<find_default>("defaultStream"),    object_method<get_pointer>("streamPointer"),
    object_method<synchronize>("streamSynchronize"), object_method<when_passed>("streamPassed"),
    object_method<is_idle>("streamIsIdle"),          object_method<wait>("streamWait"),
};

}  // namespace

Status read_queue(Environment& environment, napi_value stream, cuda::Device& device,
                  QueuePtr* queue) {
  const napi_env env = environment.env();
  napi_valuetype type = napi_undefined;
  if (stream != nullptr) napi_typeof(env, stream, &type);
  if (type == napi_undefined || type == napi_null) {
    return environment.default_queue(device, queue);
  }
  const auto* object = find_object<Stream>(env, stream);
  if (object == nullptr) {
    return argument_error(env, Code::kWrongType, "stream", Stream::kKind, stream);
  }
  RMSNORM_TRY(check_open(*object, "stream"));
  if (&object->queue()->device() != &device) {
    return {Code::kInvalidValue,
            "The argument 'stream' must be of " + device.name() + ", as the buffers are"};
  }
  *queue = object->queue();
  return {};
}

constinit const Methods kStreamMethods = kMethods;

}  // namespace rmsnorm::napi
