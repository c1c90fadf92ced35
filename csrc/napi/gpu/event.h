// Events behind JavaScript objects, and the functions over them.
#pragma once

#include <node_api.h>

#include <memory>

#include "../../cuda/runtime/recorded_event.h"
#include "../environment.h"
#include "../method.h"

namespace rmsnorm::napi {

class Event final : public NativeObject {
 public:
  static constexpr napi_type_tag kTag{0x8e52d9b7306f4c1d, 0x92a7c45be81f3d60};
  static constexpr const char* kKind = "a CudaEvent";

  explicit Event(std::unique_ptr<cuda::RecordedEvent> recorded) : recorded_(std::move(recorded)) {}

  // While it is open.
  cuda::RecordedEvent& recorded() { return *recorded_; }

 private:
  // Streams that wait for it go on doing so.
  void release() override { recorded_.reset(); }

  std::unique_ptr<cuda::RecordedEvent> recorded_;
};

// As binding.d.ts declares them.
extern const Methods kEventMethods;

}  // namespace rmsnorm::napi
