#include "objects.h"

#include <iterator>

#include "../method.h"
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
  constexpr napi_property_descriptor kMethods[] = {
      method<create_device_buffer>("createDeviceBuffer"),
      method<foreign_device_buffer>("foreignDeviceBuffer"),
      method<device_buffer_view>("deviceBufferView"),
      method<device_buffer_pointer>("deviceBufferPointer"),
      method<device_buffer_write>("deviceBufferWrite"),
      method<device_buffer_read>("deviceBufferRead"),
      method<device_buffer_read_async>("deviceBufferReadAsync"),
      method<device_buffer_fill>("deviceBufferFill"),
      method<create_host_buffer>("createHostBuffer"),
      method<copy_buffer>("copyBuffer"),
      method<create_stream>("createStream"),
      method<foreign_stream>("foreignStream"),
      method<default_stream>("defaultStream"),
      method<stream_pointer>("streamPointer"),
      method<stream_synchronize>("streamSynchronize"),
      method<stream_passed>("streamPassed"),
      method<stream_is_idle>("streamIsIdle"),
      method<stream_wait>("streamWait"),
      method<create_event>("createEvent"),
      method<event_record>("eventRecord"),
      method<event_has_passed>("eventHasPassed"),
      method<event_synchronize>("eventSynchronize"),
      method<event_passed>("eventPassed"),
      method<event_elapsed>("eventElapsed"),
      method<begin_capture>("beginCapture"),
      method<end_capture>("endCapture"),
      method<abandon_capture>("abandonCapture"),
      method<launch_graph>("launchGraph"),
      method<dispose>("dispose"),
  };
  napi_value objects = nullptr;
  napi_create_object(env, &objects);
  napi_define_properties(env, objects, std::size(kMethods), kMethods);
  return objects;
}

}  // namespace rmsnorm::napi
