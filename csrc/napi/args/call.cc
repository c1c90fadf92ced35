#include "call.h"

#include <bit>
#include <limits>
#include <string>

#include "../../cpu/backend.h"
#include "../../cuda/host/backend.h"
#include "../../op/fold.h"
#include "../../os/floating_point.h"
#include "../arguments.h"
#include "../environment.h"
#include "../gpu/device_buffer.h"
#include "../gpu/stream.h"
#include "../values.h"

namespace rmsnorm::napi {
namespace {

// Reads and checks fields of the record. Callers ask for errors once, after the last field.
// status() names the last field that was invalid.
class FieldReader {
 public:
  std::uint32_t integer(std::int32_t field, const char* name, std::uint32_t max) {
    const auto number = static_cast<std::uint32_t>(field);
    require(number <= max, name);
    return number;
  }
  // A whole number from 0 to `max`.
  std::int64_t whole_number(double field, const char* name, std::int64_t max) {
    const bool is_in_range = field >= 0 && field <= static_cast<double>(max);
    const auto number = static_cast<std::int64_t>(is_in_range ? field : 0);
    require(static_cast<double>(number) == field, name);
    return number;
  }
  double number(double field, const char* name, double min, double max) {
    require(field >= min && field <= max, name);
    return field;
  }
  void require(bool is_valid, const char* name) {
    if (!is_valid) [[unlikely]]
      invalid_field_ = name;
  }

  bool is_valid() const { return invalid_field_ == nullptr; }
  Status status() const {
    return {Code::kOutOfRange,
            std::string("The call record's field '") + invalid_field_ + "' has an invalid value"};
  }

 private:
  const char* invalid_field_ = nullptr;
};

// Fields of the record that the operands need (CallRecord).
struct Masks {
  std::uint32_t float32;
  std::uint32_t strided;
  bool on_device;
};

// Reads the quantisation fields of the record.
void read_quantization(const CallRecord& record, Call* call, FieldReader* reader) {
  const std::uint32_t codes =
      reader->integer(record.codes, "codes", static_cast<std::uint32_t>(DType::kFloat8E5M2));
  if (codes == 0) return;
  Quantization& quantization = call->quantization;
  quantization.codes = static_cast<DType>(codes);
  const bool is_forward = call->operation == &kForward;
  reader->require(quantization.is_wanted() && is_forward && call->dtype != DType::kFloat64,
                  "codes");
  const FloatingPointScope mode;
  quantization.scale = static_cast<float>(reader->number(record.scale, "scale", 0, kMaxFloat));
  const bool has_inverse = quantization.scale == 0 || is_finite(1 / quantization.scale);
  reader->require(has_inverse && (record.scale == 0) == (quantization.scale == 0), "scale");
  quantization.scale_max = static_cast<float>(
      reader->number(record.scale_max, "scaleMax", 0, std::numeric_limits<double>::infinity()));
  reader->require(quantization.scale_max > 0, "scaleMax");
}

bool read_record(const CallRecord& record, CallKind kind, Call* call, Masks* masks,
                 FieldReader* reader) {
  const auto mask = [&](std::int32_t field, const char* name) {
    return reader->integer(field, name, call->operation->all());
  };
  const bool is_now = kind == CallKind::kNow;
  call->dtype = static_cast<DType>(reader->integer(record.dtype, "dtype", 3));
  call->options.cast_order =
      static_cast<CastOrder>(reader->integer(record.cast_order, "castOrder", 1));
  call->accumulate = reader->integer(record.accumulate, "accumulate", 1) == 1;
  call->device = record.device;
  reader->require(call->device >= kCpu && call->device <= kMaxOrdinal, "device");
  masks->on_device = reader->integer(record.on_device, "onDevice", is_now) == 1;
  call->given = mask(record.given, "given");
  call->made = mask(record.made, "made");
  masks->float32 = mask(record.float32, "float32");
  masks->strided = mask(record.strided, "strided");
  const std::int64_t rows = reader->whole_number(record.rows, "rows", kMaxSafeInteger);
  const std::int64_t hidden_size =
      reader->whole_number(record.hidden_size, "hiddenSize", kMaxSafeInteger);
  std::int64_t elements = 0;
  reader->require(hidden_size > 0, "hiddenSize");
  reader->require(
      !__builtin_mul_overflow(rows, hidden_size, &elements) && elements <= kMaxSafeInteger, "rows");
  reader->require(!is_now || call->made == 0, "made");
  call->shape = {rows, hidden_size};
  const double max = call->dtype == DType::kFloat64 ? kMaxDouble : kMaxFloat;
  call->options.eps = reader->number(record.eps, "eps", 0, max);
  call->options.weight_offset = reader->number(record.weight_offset, "weightOffset", -max, max);
  call->options.gate_order =
      static_cast<GateOrder>(reader->integer(record.gate_order, "gateOrder", 1));
  read_quantization(record, call, reader);
  return reader->is_valid();
}

Status wrong_type(napi_env env, const Operand& operand, napi_value value, const char* expected) {
  return argument_error(env, Code::kWrongType, operand.rule->name, expected, value);
}

// Reads the memory of a host array as bytes. Does not check the kind of array, which lib/ has
// already checked. Returns false if the value is not a view, or if its address or size is not a
// multiple of the element size.
bool read_host_memory(napi_env env, napi_value value, CallKind kind, Operand* operand) {
  void* data = nullptr;
  std::int64_t bytes = 0;
  // In bytes. The size is a power of two, so masks and shifts can replace divisions: a division
  // takes longer than the rest of this function.
  const auto size = static_cast<std::uint64_t>(operand->element_bytes());
  if (!read_view(env, value, &data, &bytes) ||
      ((static_cast<std::uint64_t>(bytes) | reinterpret_cast<std::uintptr_t>(data)) & (size - 1)) !=
          0) {
    return false;
  }
  operand->memory = static_cast<char*>(data);
  operand->length = bytes >> std::countr_zero(size);
  operand->buffer = nullptr;
  operand->is_shared = kind == CallKind::kLater && is_shared(env, value);
  return true;
}

Status read_device_memory(napi_env env, napi_value value, Operand* operand) {
  const auto* buffer = find_object<DeviceBuffer>(env, value);
  if (buffer == nullptr || buffer->span().dtype != operand->dtype) {
    return wrong_type(env, *operand, value, "a DeviceBuffer of the expected dtype");
  }
  RMSNORM_TRY(check_open(*buffer, operand->rule->name));
  operand->memory = reinterpret_cast<char*>(buffer->span().pointer);
  operand->length = buffer->span().length;
  operand->buffer = buffer;
  operand->is_shared = false;
  return {};
}

DType dtype_of(const OperandRule& rule, const Call& call, bool is_float32) {
  const bool is_16_bit = call.dtype == DType::kFloat16 || call.dtype == DType::kBFloat16;
  switch (rule.element) {
    case Element::kTensor:
      return call.dtype;
    case Element::kTensorOrFloat32:
      return is_16_bit && is_float32 ? DType::kFloat32 : call.dtype;
    case Element::kRstd:
      return is_16_bit ? DType::kFloat32 : call.dtype;
    case Element::kTensorOrCodes:
      return call.quantization.is_wanted() ? call.quantization.codes : call.dtype;
    case Element::kFloat32:
      break;
  }
  return DType::kFloat32;
}

// Reads the layout of a matrix from the record and sets the operand's rows.
Status read_layout(const CallRecord& record, Shape shape, std::size_t index, Operand* operand) {
  FieldReader reader;
  std::int64_t layout[4];
  for (std::size_t i = 0; i < 4; ++i) {
    layout[i] = reader.whole_number(record.layouts[index][i], "layouts", kMaxSafeInteger);
  }
  if (!reader.is_valid()) return reader.status();
  return bind_layout(shape, layout, operand);
}

// Reads a wanted operand (Call::wanted()) and sets where its rows begin and end. For an output that
// the call allocates later, only sets the layout.
Status read_operand(napi_env env, const CallRecord& record, const Call& call, const Masks& masks,
                    CallKind kind, std::size_t index, napi_value value, Operand* operand) {
  const auto& [rows, hidden_size] = call.shape;
  const OperandRule& rule = (*call.operation)[index];
  const bool is_matrix = rule.extent == Extent::kMatrix;
  operand->rule = &rule;
  operand->dtype = dtype_of(rule, call, (masks.float32 & bit(index)) != 0);
  operand->columns = rule.extent == Extent::kPerRow ? rows : hidden_size;
  operand->pack(is_matrix ? rows : 1);
  if ((call.given & bit(index)) == 0) {
    operand->value = nullptr;
    operand->memory = nullptr;
    return {};
  }
  operand->value = value;
  if (masks.on_device) {
    RMSNORM_TRY(read_device_memory(env, value, operand));
  } else if (!read_host_memory(env, value, kind, operand)) {
    return wrong_type(env, *operand, value, array_name(operand->dtype));
  }
  if (is_matrix && (masks.strided & bit(index)) != 0) {
    RMSNORM_TRY(read_layout(record, call.shape, index, operand));
    operand->end = operand->data() + reach(*operand) * operand->element_bytes();
    return {};
  }
  const std::int64_t length = operand->rows.count * operand->columns;
  if (operand->length != length) return length_error(rule.name, length, operand->length);
  operand->end = operand->memory + length * operand->element_bytes();
  return {};
}

// Reads the stream of a call on device memory. All operands must be on the call's device.
Status read_stream_of(napi_env env, napi_value stream, Call* call) {
  cuda::Device* device = nullptr;
  for (std::uint32_t given = call->given; given != 0;) {
    const std::size_t i = take_bit(&given);
    cuda::Device& operand_device = call->operands[i].buffer->span().allocation->device();
    if (operand_device.properties().ordinal != call->device) {
      return {Code::kInvalidValue, std::string("The argument '") + (*call->operation)[i].name +
                                       "' must be on the device of the call"};
    }
    device = &operand_device;
  }
  Environment* environment = nullptr;
  RMSNORM_TRY(Environment::of(env, &environment));
  return read_stream(*environment, stream, *device, &call->stream);
}

// Checks that outputs overlap only what their rules allow. Outputs that the call still has to
// allocate overlap nothing.
Status check_overlaps(const Call& call) {
  const std::uint32_t outputs = call.operation->outputs();
  for (std::uint32_t left = call.given & outputs; left != 0;) {
    const Operand& output = call.operands[take_bit(&left)];
    const char* const begin = output.data();
    if (begin == output.end) continue;
    if (!output.is_packed()) RMSNORM_TRY(check_own_rows(output));
    // Each pair of outputs is checked once: `left` holds the outputs not yet visited.
    for (std::uint32_t others = (call.given & ~outputs) | left; others != 0;) {
      const std::size_t index = take_bit(&others);
      const Operand& other = call.operands[index];
      const bool is_apart = other.end <= begin || output.end <= other.data();
      if (is_apart || other.data() == other.end) continue;
      const bool may_equal =
          (output.rule->may_equal & bit(index)) != 0 && !is_quantized(output.dtype);
      RMSNORM_TRY(check_overlap(output, other, may_equal));
    }
  }
  return {};
}

// The error for an operand that is missing although it is required, or although a wanted operand
// needs it. Ok if no operand is missing.
Status missing_operand_error(const Operation& operation, std::uint32_t wanted) {
  if (std::uint32_t missing = operation.required() & ~wanted; missing != 0) {
    return {Code::kInvalidValue,
            std::string("The argument '") + operation[take_bit(&missing)].name + "' must be given"};
  }
  for (std::uint32_t left = operation.dependent() & wanted; left != 0;) {
    const OperandRule& rule = operation[take_bit(&left)];
    std::uint32_t missing = rule.needs & ~wanted;
    if (missing == 0) continue;
    return {Code::kInvalidValue, std::string("The argument '") + rule.name +
                                     "' must be omitted unless '" +
                                     operation[take_bit(&missing)].name + "' is given"};
  }
  return {};
}

ForwardArgs forward_args(const Call& call) {
  using namespace forward_operand;
  // Without a scale for each row, memory for scales is left unchanged.
  const bool has_scales = call.quantization.is_wanted() && call.quantization.scale == 0;
  return {.shape = call.shape,
          .options = call.options,
          .dtype = call.dtype,
          .x = call.matrix<ConstRows>(kX),
          .weight = {call.data(kWeight),
                     call.is_wanted(kWeight) ? call.operands[kWeight].dtype : call.dtype},
          .y = call.matrix<Rows>(kY),
          .rstd = call.data(kRstd),
          .residual = call.matrix<ConstRows>(kResidual),
          .sum = call.matrix<Rows>(kSum),
          .gate = call.matrix<ConstRows>(kGate),
          .quantization = call.quantization,
          .scales = has_scales ? static_cast<float*>(call.data(kScale)) : nullptr};
}

BackwardArgs backward_args(const Call& call) {
  using namespace backward_operand;
  const auto dtype_of = [&](std::size_t index) {
    return call.is_wanted(index) ? call.operands[index].dtype : call.dtype;
  };
  return {.shape = call.shape,
          .options = call.options,
          .dtype = call.dtype,
          .dy = call.matrix<ConstRows>(kDy),
          .x = call.matrix<ConstRows>(kX),
          .weight = {call.data(kWeight), dtype_of(kWeight)},
          .rstd = call.data(kRstd),
          .dx = call.matrix<Rows>(kDx),
          .dweight = call.data(kDweight),
          .dweight_dtype = dtype_of(kDweight),
          .accumulate = call.accumulate,
          .dsum = call.matrix<ConstRows>(kDsum),
          .gate = call.matrix<ConstRows>(kGate),
          .dgate = call.matrix<Rows>(kDgate)};
}

// The device allocation of an operand; null if the operand was not passed.
const cuda::AllocationPtr& allocation_of(const Call& call, std::size_t index) {
  static const cuda::AllocationPtr none;
  const bool is_given = (call.given & bit(index)) != 0;
  return is_given ? call.operands[index].buffer->span().allocation : none;
}

template <class Args>
Status run(const Call& call, const Args& args, Status (*on_cpu)(const Args&),
           Status (*on_device)(int, const Args&),
           Status (*enqueue)(cuda::Stream&, const Args&,
                             std::initializer_list<const cuda::AllocationPtr*>)) {
  if (call.stream != nullptr) {
    const auto used = [&](std::size_t index) { return &allocation_of(call, index); };
    return enqueue(
        *call.stream, args,
        {used(0), used(1), used(2), used(3), used(4), used(5), used(6), used(7), used(8)});
  }
  return call.device == kCpu ? on_cpu(args) : on_device(call.device, args);
}

}  // namespace

Status read_call(napi_env env, const Operation& operation, const CallRecord& record,
                 napi_value stream, const napi_value* values, CallKind kind, Call* call) {
  call->operation = &operation;
  call->quantization = {};
  Masks masks;
  FieldReader reader;
  if (!read_record(record, kind, call, &masks, &reader)) return reader.status();
  const std::uint32_t wanted = call->wanted();
  if ((operation.required() & ~wanted) != 0 || (operation.dependent() & wanted) != 0) {
    RMSNORM_TRY(missing_operand_error(operation, wanted));
  }
  for (std::uint32_t left = wanted; left != 0;) {
    const std::size_t i = take_bit(&left);
    RMSNORM_TRY(read_operand(env, record, *call, masks, kind, i, values[i], &call->operands[i]));
  }
  if (masks.on_device) RMSNORM_TRY(read_stream_of(env, stream, call));
  RMSNORM_TRY(check_overlaps(*call));
  if (&operation != &kBackward || call->is_wanted(backward_operand::kDx)) return {};
  return check_rows_have_memory(call->operands[backward_operand::kDy],
                                call->operands[backward_operand::kX]);
}

Status run_forward(const Call& call) {
  return run(call, forward_args(call), cpu::forward, cuda::forward, cuda::enqueue_forward);
}

Status run_backward(const Call& call) {
  return run(call, backward_args(call), cpu::backward, cuda::backward, cuda::enqueue_backward);
}

}  // namespace rmsnorm::napi
