#include "place.h"

#include "../gpu/device_buffer.h"
#include "../gpu/stream.h"

namespace rmsnorm::napi {
namespace {

const cuda::Device* device_of(const Operand& operand) {
  const DeviceBuffer* buffer = operand.array.memory.buffer;
  return buffer == nullptr ? nullptr : &buffer->span().allocation->device();
}

}  // namespace

Status read_place(napi_env env, napi_value stream, int ordinal,
                  std::initializer_list<const Operand*> operands, cuda::StreamPtr* queue) {
  const Operand& first = **operands.begin();
  const cuda::Device* device = device_of(first);
  for (const Operand* operand : operands) {
    if (operand->array.is_given() && device_of(*operand) != device) {
      return {Code::kInvalidValue, std::string("The arguments '") + first.array.name + "' and '" +
                                       operand->array.name + "' must be in one place"};
    }
  }
  if (device == nullptr) {
    if (stream == nullptr || is_absent(env, stream)) return {};
    return {Code::kInvalidValue, "The argument 'stream' must be left out beside arrays"};
  }
  if (device->properties().ordinal != ordinal) {
    return {Code::kInvalidValue, "The argument 'format' must name the device of the buffers"};
  }
  Environment* environment = nullptr;
  RMSNORM_TRY(Environment::of(env, &environment));
  cuda::Device& place = first.array.memory.buffer->span().allocation->device();
  return read_stream(*environment, stream, place, queue);
}

const cuda::AllocationPtr& allocation_of(const Operand& operand) {
  static const cuda::AllocationPtr none;
  const DeviceBuffer* buffer = operand.array.memory.buffer;
  return buffer == nullptr ? none : buffer->span().allocation;
}

}  // namespace rmsnorm::napi
