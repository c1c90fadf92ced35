// Streams behind JavaScript objects, and the functions over them.
#pragma once

#include <node_api.h>

#include "../../cuda/runtime/queue.h"
#include "../environment.h"
#include "object_call.h"

namespace rmsnorm::napi {

class Stream final : public NativeObject {
 public:
  static constexpr napi_type_tag kTag{0x1d7be05c42f94a86, 0xb83e6f019c25d74a};
  static constexpr const char* kKind = "a Stream";

  Stream(Environment& environment, cuda::QueuePtr queue, bool is_default)
      : environment_(environment), queue_(std::move(queue)), is_default_(is_default) {}

  const cuda::QueuePtr& queue() const { return queue_; }

 private:
  // The default stream stays for calls that name none.
  void release() override {
    if (!is_default_) environment_.close_queue(*queue_);
    queue_.reset();
  }

  Environment& environment_;
  cuda::QueuePtr queue_;
  bool is_default_;
};

// The queue of an optional argument 'stream': the device's default one if there is none. Errors:
// kWrongType, kDisposed; kInvalidValue of a stream of another device; kCuda.
Status read_queue(Environment& environment, napi_value stream, cuda::Device& device,
                  cuda::QueuePtr* queue);
inline Status read_queue(ObjectCall& call, std::size_t index, cuda::Device& device,
                         cuda::QueuePtr* queue) {
  return read_queue(call.environment(), call.argument(index), device, queue);
}

// As binding.d.ts declares them.
extern const Methods kStreamMethods;

}  // namespace rmsnorm::napi
