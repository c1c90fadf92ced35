#include "../results.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

Status create(ObjectCall& call, cuda::Device& device) {
  bool has_timing = false;
  std::unique_ptr<cuda::Event> event;
  RMSNORM_TRY(call.boolean(1, "timing", &has_timing));
  RMSNORM_TRY(cuda::Event::make(device, has_timing, &event));
  return call.returns_object(std::make_unique<Event>(std::move(event)));
}

Status record(ObjectCall& call, Event& event) {
  cuda::StreamPtr stream;
  RMSNORM_TRY(read_stream(call, 1, event.get().device(), &stream));
  return stream->record(event.get());
}

Status has_passed(ObjectCall& call, Event& event) {
  bool has_passed = false;
  RMSNORM_TRY(event.get().has_passed(&has_passed));
  call.returns_boolean(has_passed);
  return {};
}

Status synchronize(ObjectCall&, Event& event) { return event.get().synchronize(); }

// Uses a stream without other work, because the promise waits for all work of its stream.
Status when_passed(ObjectCall& call) {
  Promise promise(call.environment().mailbox());  // first, since this may run JavaScript
  RMSNORM_TRY(promise.make());
  Event* event = nullptr;
  cuda::StreamPtr stream;
  RMSNORM_TRY(call.object(0, "event", &event));
  RMSNORM_TRY(event->get().check_waitable());
  RMSNORM_TRY(call.environment().idle_stream(event->get().device(), &stream));
  RMSNORM_TRY(stream->wait_for(event->get()));
  call.returns(promise.settle_after(*stream, nullptr));
  return {};
}

Status elapsed(ObjectCall& call) {
  Event* begin = nullptr;
  Event* end = nullptr;
  float milliseconds = 0;
  RMSNORM_TRY(call.object(0, "event", &begin));
  RMSNORM_TRY(call.object(1, "end", &end));
  RMSNORM_TRY(begin->get().elapsed(end->get(), &milliseconds));
  call.returns(make_number(call.env(), milliseconds));
  return {};
}

constexpr napi_property_descriptor kMethods[] = {
    method<create>("createEvent"),        method<record>("eventRecord"),
    method<has_passed>("eventHasPassed"), method<synchronize>("eventSynchronize"),
    method<when_passed>("eventPassed"),   method<elapsed>("eventElapsed"),
};

}  // namespace

constinit const Methods kEvents = kMethods;

}  // namespace rmsnorm::napi
