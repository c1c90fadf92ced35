#include "../../cuda/runtime/allocation.h"
#include "../results.h"
#include "device_buffer.h"
#include "external_memory.h"
#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

using cuda::AllocationPtr;
using cuda::CUdeviceptr;

constexpr std::int64_t kMaxBytes = std::int64_t{1} << 53;

// Page-locked host memory.
class HostBuffer final : public NativeObject {
 public:
  static constexpr const char* kKind = "a HostBuffer";

  HostBuffer(napi_env env, AllocationPtr allocation)
      : env_(env), allocation_(std::move(allocation)) {}

  // Makes the ArrayBuffer over the memory. The ArrayBuffer keeps the memory alive, and close()
  // detaches the ArrayBuffer. The HostBuffer's finalizer calls close(), too. So JavaScript must
  // keep the HostBuffer reachable as long as the ArrayBuffer is reachable.
  Status make_array_buffer(napi_value* array_buffer) {
    if (allocation_->bytes() > 0) {
      return make_external_array_buffer(env_, allocation_, array_buffer, &memory_);
    }
    void* data = nullptr;
    napi_create_arraybuffer(env_, 0, &data, array_buffer);
    return {};
  }

  // Null once the buffer is closed.
  const AllocationPtr& allocation() const { return allocation_; }

 private:
  void release() override {
    allocation_.reset();
    detach_external_array_buffer(env_, memory_);
  }

  napi_env env_;
  AllocationPtr allocation_;
  ExternalMemory memory_ = 0;
};

Status create(ObjectCall& call, cuda::Device& device) {
  std::int64_t bytes = 0;
  AllocationPtr allocation;
  RMSNORM_TRY(call.integer(1, "byteLength", 0, kMaxBytes, &bytes));
  RMSNORM_TRY(cuda::Allocation::on_host(device, bytes, &allocation));
  auto buffer = std::make_unique<HostBuffer>(call.env(), std::move(allocation));
  napi_value array_buffer = nullptr;
  RMSNORM_TRY(buffer->make_array_buffer(&array_buffer));
  napi_value handle = nullptr;
  RMSNORM_TRY(call.environment().wrap(std::move(buffer), &handle));
  call.returns(make_list(call.env(), {handle, array_buffer}));
  return {};
}

// One side of a copy without staging: device memory or page-locked memory.
struct Side {
  AllocationPtr allocation;
  CUdeviceptr pointer = 0;
  std::int64_t bytes = 0;
  bool is_on_device = false;
};

Status read_side(ObjectCall& call, std::size_t index, const char* name, Side* side) {
  if (const auto* buffer = find_object<DeviceBuffer>(call.env(), call[index])) {
    RMSNORM_TRY(check_open(*buffer, name));
    const cuda::DeviceSpan& span = buffer->span();
    *side = {span.allocation, span.pointer, span.bytes(), true};
    return {};
  }
  if (const auto* buffer = find_object<HostBuffer>(call.env(), call[index])) {
    RMSNORM_TRY(check_open(*buffer, name));
    *side = {buffer->allocation(), 0, buffer->allocation()->bytes(), false};
    return {};
  }
  return call.wrong_type(index, name, "a DeviceBuffer or a HostBuffer");
}

// Reads the stream of a copy. Between two devices, it may be on the target's device or on the
// source's. Otherwise it must be on the only device of the copy. If no stream is passed, it is the
// default stream of the target's device, or of the source's device if the target is on the host.
Status read_copy_stream(ObjectCall& call, std::size_t index, const Side& target, const Side& source,
                        cuda::StreamPtr* stream) {
  const auto* argument = find_object<Stream>(call.env(), call[index]);
  const bool is_of_source = target.is_on_device && source.is_on_device && argument != nullptr &&
                            argument->is_open() &&
                            &argument->get()->device() == &source.allocation->device();
  const Side& side = is_of_source || !target.is_on_device ? source : target;
  return read_stream(call, index, side.allocation->device(), stream);
}

bool overlap(const Side& a, const Side& b) {
  return a.pointer < b.pointer + static_cast<CUdeviceptr>(b.bytes) &&
         b.pointer < a.pointer + static_cast<CUdeviceptr>(a.bytes);
}

Status copy(ObjectCall& call) {
  Side target;
  Side source;
  cuda::StreamPtr stream;
  RMSNORM_TRY(read_side(call, 0, "target", &target));
  RMSNORM_TRY(read_side(call, 1, "source", &source));
  if (!target.is_on_device && !source.is_on_device) {
    return call.wrong_type(1, "source", "a DeviceBuffer when the target is a HostBuffer");
  }
  if (target.bytes != source.bytes) {
    return {Code::kOutOfRange, "The arguments 'target' and 'source' must have the same length"};
  }
  RMSNORM_TRY(read_copy_stream(call, 2, target, source, &stream));
  const auto bytes = static_cast<std::size_t>(target.bytes);
  const bool is_on_device = target.is_on_device && source.is_on_device;
  if (bytes == 0 || (is_on_device && target.pointer == source.pointer)) return {};
  if (is_on_device && overlap(target, source)) {
    return {
        Code::kInvalidValue,
        "The buffers 'target' and 'source' must not overlap in memory unless they are the same"};
  }
  return stream->enqueue({&target.allocation, &source.allocation}, [&] {
    if (is_on_device) {
      return RMSNORM_CUDA(cuMemcpyDtoDAsync_v2, target.pointer, source.pointer, bytes,
                          stream->handle());
    }
    return target.is_on_device ? RMSNORM_CUDA(cuMemcpyHtoDAsync_v2, target.pointer,
                                              source.allocation->host(), bytes, stream->handle())
                               : RMSNORM_CUDA(cuMemcpyDtoHAsync_v2, target.allocation->host(),
                                              source.pointer, bytes, stream->handle());
  });
}

constexpr napi_property_descriptor kMethods[] = {
    method<create>("createHostBuffer"),
    method<copy>("copyBuffer"),
};

}  // namespace

constinit const Methods kHostBuffers = kMethods;

}  // namespace rmsnorm::napi
