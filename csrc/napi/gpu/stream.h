// The objects behind JavaScript's Stream and CudaEvent.
#pragma once

#include <node_api.h>

#include "../../cuda/runtime/event.h"
#include "../../cuda/runtime/stream.h"
#include "../environment.h"
#include "object_call.h"

namespace rmsnorm::napi {

class Stream final : public NativeObject {
 public:
  static constexpr const char* kKind = "a Stream";
  static constexpr const char* kName = "stream";

  Stream(Environment& environment, cuda::StreamPtr stream, bool is_default)
      : environment_(environment), stream_(std::move(stream)), is_default_(is_default) {}

  const cuda::StreamPtr& get() const { return stream_; }

 private:
  // The default stream stays open, for calls that pass no stream.
  void release() override {
    if (!is_default_) environment_.close_stream(*stream_);
    stream_.reset();
  }

  Environment& environment_;
  cuda::StreamPtr stream_;
  bool is_default_;
};

// If an event is closed, streams that already wait for it still wait.
struct Event final : OwningObject<cuda::Event> {
  static constexpr const char* kKind = "a CudaEvent";
  static constexpr const char* kName = "event";
  using OwningObject::OwningObject;
};

// Reads the optional argument 'stream'. The default is the device's default stream. Errors:
// kWrongType, kDisposed, kCuda; kInvalidValue if the stream is on another device.
Status read_stream(Environment& environment, napi_value argument, cuda::Device& device,
                   cuda::StreamPtr* stream);
inline Status read_stream(ObjectCall& call, std::size_t index, cuda::Device& device,
                          cuda::StreamPtr* stream) {
  return read_stream(call.environment(), call[index], device, stream);
}

}  // namespace rmsnorm::napi
