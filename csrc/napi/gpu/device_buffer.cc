#include "device_buffer.h"

#include <algorithm>
#include <cstring>

#include "../../cpu/backend.h"
#include "../../op/quantize.h"
#include "../../os/floating_point.h"
#include "object_call.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

using cuda::DeviceSpan;
using cuda::StreamPtr;

constexpr std::int64_t kMaxLength = std::int64_t{1} << 53;

Status make(ObjectCall& call, DeviceSpan span, std::shared_ptr<ReportedMemory> reported) {
  return call.returns_object(std::make_unique<DeviceBuffer>(std::move(span), std::move(reported)));
}

// Memory that is allocated for a stream may still be used by earlier work of that stream
// (allocation.h). Captured work does not run in that order: it runs later, on any stream. So during
// a capture the memory is allocated without a stream, and no work in flight uses it.
Status create(ObjectCall& call, cuda::Device& device) {
  DeviceSpan span;
  StreamPtr stream;
  RMSNORM_TRY(call.integer(1, "length", 0, kMaxLength, &span.length));
  RMSNORM_TRY(call.dtype(2, &span.dtype));
  napi_valuetype type = napi_undefined;
  napi_typeof(call.env(), call[3], &type);
  if (type != napi_undefined && type != napi_null) {
    RMSNORM_TRY(read_stream(call, 3, device, &stream));
  }
  if (stream != nullptr && stream->is_capturing()) stream.reset();
  RMSNORM_TRY(cuda::Allocation::on_device(device, span.bytes(), stream, &span.allocation));
  span.pointer = span.allocation->pointer();
  auto reported = std::make_shared<ReportedMemory>(call.env(), span.allocation->allocated_bytes());
  return make(call, std::move(span), std::move(reported));
}

Status create_foreign(ObjectCall& call, cuda::Device& device) {
  DeviceSpan span;
  RMSNORM_TRY(call.pointer(1, &span.pointer));
  RMSNORM_TRY(call.integer(2, "length", 0, kMaxLength, &span.length));
  RMSNORM_TRY(call.dtype(3, &span.dtype));
  const std::int64_t alignment = element_size(span.dtype);
  if (span.pointer % static_cast<std::uint64_t>(alignment) != 0) {
    return {Code::kInvalidValue, "The argument 'pointer' must be a multiple of " +
                                     std::to_string(alignment) + ", the size of an element"};
  }
  RMSNORM_TRY(cuda::Allocation::foreign(device, span.pointer, span.bytes(), &span.allocation));
  return make(call, std::move(span), nullptr);
}

Status view(ObjectCall& call, DeviceBuffer& buffer) {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  RMSNORM_TRY(call.integer(1, "begin", 0, buffer.span().length, &begin));
  RMSNORM_TRY(call.integer(2, "end", 0, buffer.span().length, &end));
  DeviceSpan span = buffer.span();
  span.pointer += static_cast<cuda::CUdeviceptr>(begin * element_size(span.dtype));
  span.length = std::max<std::int64_t>(end - begin, 0);
  return make(call, std::move(span), buffer.reported());
}

Status get_pointer(ObjectCall& call, DeviceBuffer& buffer) {
  call.returns_pointer(buffer.span().pointer);
  return {};
}

// The arguments of write(), read() and read_async(): the buffer, the array with its dtype, the
// stream.
struct Copy {
  DeviceBuffer* buffer = nullptr;
  HostArray array;
  StreamPtr stream;
};

Status read_copy(ObjectCall& call, const char* name, Copy* copy) {
  RMSNORM_TRY(call.object(0, "buffer", &copy->buffer));
  RMSNORM_TRY(call.array(1, name, &copy->array));
  const DeviceSpan& span = copy->buffer->span();
  if (copy->array.length != span.length) {
    return length_error(name, span.length, copy->array.length);
  }
  const bool is_same = copy->array.dtype == span.dtype;
  const bool is_int8 = copy->array.dtype == DType::kInt8 || span.dtype == DType::kInt8;
  if (!is_same &&
      (is_int8 || (copy->array.dtype != DType::kFloat32 && span.dtype != DType::kFloat32))) {
    return {Code::kInvalidValue,
            "Elements can only be converted from and to float32; int8 cannot be converted"};
  }
  return read_stream(call, 3, span.allocation->device(), &copy->stream);
}

Status write(ObjectCall& call) {
  Copy copy;
  bool may_wait = false;
  RMSNORM_TRY(read_copy(call, "source", &copy));
  RMSNORM_TRY(call.boolean(4, "mayWait", &may_wait));
  return cuda::upload(*copy.stream, call.environment().staging(), copy.buffer->span(),
                      copy.array.data, copy.array.dtype, may_wait);
}

Status read(ObjectCall& call) {
  Copy copy;
  RMSNORM_TRY(read_copy(call, "target", &copy));
  return cuda::download(*copy.stream, call.environment().staging(), copy.buffer->span(),
                        copy.array.data, copy.array.dtype);
}

// A download to a JavaScript array. The array receives the elements once the stream's work has run.
class Download final : public Completion {
 public:
  Download(napi_env env, const HostArray& target, DType source_dtype, cuda::StagedCopy copy)
      : env_(env),
        target_dtype_(target.dtype),
        length_(target.length),
        source_dtype_(source_dtype),
        copy_(std::move(copy)) {
    napi_create_reference(env, target.value, 1, &reference_);
  }
  ~Download() override { napi_delete_reference(env_, reference_); }

  Status complete(napi_env env) override {
    napi_value value = nullptr;
    HostArray array;
    napi_get_reference_value(env, reference_, &value);
    if (!read_host_array(env, value, target_dtype_, &array) || array.length != length_) {
      return {Code::kInvalidValue,
              "The array 'target' was detached or resized before it could be written"};
    }
    return cuda::unpack(copy_, source_dtype_, array.data, target_dtype_, length_);
  }

 private:
  napi_env env_;
  napi_ref reference_ = nullptr;
  DType target_dtype_;
  std::int64_t length_;
  DType source_dtype_;
  cuda::StagedCopy copy_;
};

Status read_async(ObjectCall& call) {
  Promise promise(call.environment().mailbox());  // first, since this may run JavaScript
  RMSNORM_TRY(promise.make());
  Copy copy;
  RMSNORM_TRY(read_copy(call, "target", &copy));
  const DeviceSpan& span = copy.buffer->span();
  cuda::StagedCopy staged;
  RMSNORM_TRY(cuda::start_download(*copy.stream, call.environment().staging(), span, &staged));
  call.returns(promise.settle_after(
      *copy.stream,
      std::make_unique<Download>(call.env(), copy.array, span.dtype, std::move(staged))));
  return {};
}

Status fill(ObjectCall& call, DeviceBuffer& buffer) {
  double number = 0;
  StreamPtr stream;
  RMSNORM_TRY(call.number(1, "value", &number));
  const DeviceSpan& span = buffer.span();
  RMSNORM_TRY(read_stream(call, 2, span.allocation->device(), &stream));
  if (span.length == 0) return {};
  const FloatingPointScope mode;
  const auto value = static_cast<float>(number);
  std::uint32_t bits = 0;
  std::uint16_t short_bits = 0;
  if (is_quantized(span.dtype)) {
    bits = code_of(span.dtype, value);
  } else if (span.dtype == DType::kFloat32) {
    std::memcpy(&bits, &value, sizeof(bits));
  } else {
    RMSNORM_TRY(cpu::convert(DType::kFloat32, &value, span.dtype, &short_bits, 1));
  }
  const auto length = static_cast<std::size_t>(span.length);
  return stream->enqueue({&span.allocation}, [&] {
    switch (element_size(span.dtype)) {
      case 1:
        return RMSNORM_CUDA(cuMemsetD8Async, span.pointer, static_cast<unsigned char>(bits), length,
                            stream->handle());
      case 2:
        return RMSNORM_CUDA(cuMemsetD16Async, span.pointer, short_bits, length, stream->handle());
      default:
        return RMSNORM_CUDA(cuMemsetD32Async, span.pointer, bits, length, stream->handle());
    }
  });
}

constexpr napi_property_descriptor kMethods[] = {
    method<create>("createDeviceBuffer"),
    method<create_foreign>("foreignDeviceBuffer"),
    method<view>("deviceBufferView"),
    method<get_pointer>("deviceBufferPointer"),
    method<write>("deviceBufferWrite"),
    method<read>("deviceBufferRead"),
    method<read_async>("deviceBufferReadAsync"),
    method<fill>("deviceBufferFill"),
};

}  // namespace

constinit const Methods kDeviceBuffers = kMethods;

}  // namespace rmsnorm::napi
