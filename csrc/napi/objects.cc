#include "objects.h"

#include <iterator>

#include "device_buffer.h"
#include "event.h"
#include "graph.h"
#include "host_buffer.h"
#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

// Closes an object of any kind; those that are closed stay so.
napi_value dispose(napi_env env, napi_callback_info info) {
  napi_value value = nullptr;
  std::size_t count = 1;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  for (const napi_type_tag& tag :
       {DeviceBuffer::kTag, HostBuffer::kTag, Stream::kTag, Event::kTag, Graph::kTag}) {
    if (NativeObject* object = find_object(env, value, tag)) {
      object->close();
      return nullptr;
    }
  }
  return throw_status(
      env, {Code::kWrongType,
            "The argument 'object' must be an object of a GPU. Received " + describe(env, value)});
}

}  // namespace

napi_value make_objects(napi_env env) {
  constexpr auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{
        name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_jsproperty, nullptr};
  };
  const napi_property_descriptor methods[] = {
      method("createDeviceBuffer", create_device_buffer),
      method("foreignDeviceBuffer", foreign_device_buffer),
      method("deviceBufferView", device_buffer_view),
      method("deviceBufferPointer", device_buffer_pointer),
      method("deviceBufferWrite", device_buffer_write),
      method("deviceBufferRead", device_buffer_read),
      method("deviceBufferReadAsync", device_buffer_read_async),
      method("deviceBufferFill", device_buffer_fill),
      method("createHostBuffer", create_host_buffer),
      method("copyBuffer", copy_buffer),
      method("createStream", create_stream),
      method("foreignStream", foreign_stream),
      method("defaultStream", default_stream),
      method("streamPointer", stream_pointer),
      method("streamSynchronize", stream_synchronize),
      method("streamPassed", stream_passed),
      method("streamIsIdle", stream_is_idle),
      method("streamWait", stream_wait),
      method("createEvent", create_event),
      method("eventRecord", event_record),
      method("eventHasPassed", event_has_passed),
      method("eventSynchronize", event_synchronize),
      method("eventPassed", event_passed),
      method("eventElapsed", event_elapsed),
      method("beginCapture", begin_capture),
      method("endCapture", end_capture),
      method("abandonCapture", abandon_capture),
      method("launchGraph", launch_graph),
      method("dispose", dispose),
  };
  napi_value objects = nullptr;
  napi_create_object(env, &objects);
  napi_define_properties(env, objects, std::size(methods), methods);
  return objects;
}

}  // namespace rmsnorm::napi
