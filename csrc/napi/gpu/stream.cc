#include "stream.h"

#include "event.h"

namespace rmsnorm::napi {
namespace {

using cuda::QueuePtr;

Status make(ObjectCall& call, QueuePtr queue, bool is_default) {
  Environment& environment = call.environment();
  napi_value value = nullptr;
  RMSNORM_TRY(environment.wrap(std::make_unique<Stream>(environment, std::move(queue), is_default),
                               &value));
  call.returns(value);
  return {};
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
  napi_value pointer = nullptr;
  napi_create_bigint_uint64(call.env(), reinterpret_cast<std::uint64_t>(stream->queue()->share()),
                            &pointer);
  call.returns(pointer);
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
  napi_value value = nullptr;
  napi_get_boolean(call.env(), has_passed, &value);
  call.returns(value);
  return {};
}

Status wait(ObjectCall& call) {
  Stream* stream = nullptr;
  Event* event = nullptr;
  RMSNORM_TRY(call.object(0, "stream", &stream));
  RMSNORM_TRY(call.object(1, "event", &event));
  return stream->queue()->wait_for(event->recorded());
}

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
    return {Code::kWrongType, std::string("The argument 'stream' must be ") + Stream::kKind +
                                  ". Received " + describe(env, stream)};
  }
  RMSNORM_TRY(check_open(*object, "stream"));
  if (&object->queue()->device() != &device) {
    return {Code::kInvalidValue, "The argument 'stream' must be of 'cuda:" +
                                     std::to_string(device.properties().ordinal) +
                                     "', as the buffers are"};
  }
  *queue = object->queue();
  return {};
}

napi_value create_stream(napi_env env, napi_callback_info info) {
  return object_callback<create>(env, info);
}
napi_value foreign_stream(napi_env env, napi_callback_info info) {
  return object_callback<create_foreign>(env, info);
}
napi_value default_stream(napi_env env, napi_callback_info info) {
  return object_callback<find_default>(env, info);
}
napi_value stream_pointer(napi_env env, napi_callback_info info) {
  return object_callback<get_pointer>(env, info);
}
napi_value stream_synchronize(napi_env env, napi_callback_info info) {
  return object_callback<synchronize>(env, info);
}
napi_value stream_passed(napi_env env, napi_callback_info info) {
  return object_callback<when_passed>(env, info);
}
napi_value stream_is_idle(napi_env env, napi_callback_info info) {
  return object_callback<is_idle>(env, info);
}
napi_value stream_wait(napi_env env, napi_callback_info info) {
  return object_callback<wait>(env, info);
}

}  // namespace rmsnorm::napi
