#include "arguments.h"

#include <iterator>

#include "place.h"

namespace rmsnorm::napi {
namespace {

constexpr std::int64_t kDType = 3;
constexpr std::int64_t kCastOrderFloat = 4;
constexpr std::int64_t kAccumulate = 8;
constexpr std::int64_t kFreshFloat32 = 16;
constexpr std::int64_t kDevice = 32;  // times the ordinal plus 1
constexpr std::int64_t kMaxDevices = 1024;

Format read_format(ArgumentReader& reader, std::size_t index) {
  const std::int64_t bits = reader.integer_at(index, "format", 0, kDevice * (kMaxDevices + 1) - 1);
  return {.dtype = static_cast<DType>(bits & kDType),
          .cast_order = bits & kCastOrderFloat ? CastOrder::kFloat : CastOrder::kLlama,
          .accumulate = (bits & kAccumulate) != 0,
          .fresh_float32 = (bits & kFreshFloat32) != 0,
          .device = static_cast<int>(bits / kDevice) + kCpu};
}

Options read_options(ArgumentReader& reader, const Format& format) {
  const double most = format.dtype == DType::kFloat64 ? kMaxDouble : kMaxFloat;
  Options options;
  options.eps = reader.number("eps", 0, most);
  options.weight_offset = reader.number("weightOffset", -most, most);
  options.cast_order = format.cast_order;
  return options;
}

DType rstd_dtype(const Format& format) {
  return format.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
}

// The argument `layout` of binding.d.ts: the number of rows, then four numbers for each matrix.
class Layouts {
 public:
  void read(ArgumentReader& reader) {
    is_given_ = reader.integers("layout", std::size(numbers_), numbers_);
  }

  // The shape of a call: without a layout, x has its rows and no other elements.
  Status shape(const Array& x, std::int64_t hidden_size, Shape* shape) const {
    *shape = {is_given_ ? numbers_[0] : x.memory.length / hidden_size, hidden_size};
    if (is_given_ && shape->rows > kMaxSafeInteger / hidden_size) {
      return {Code::kOutOfRange, "The argument 'layout' must have rows of up to 2^53 elements"};
    }
    if (!is_given_ && shape->rows * hidden_size != x.memory.length) {
      return {Code::kOutOfRange, std::string("The argument '") + x.name +
                                     "' must hold whole rows of " + std::to_string(hidden_size) +
                                     " elements. Received " + std::to_string(x.memory.length)};
    }
    return {};
  }

  // Places the matrix number `index`.
  Status place(Shape shape, std::size_t index, Operand* operand) const {
    return is_given_ ? place_strided_rows(shape, numbers_ + 1 + 4 * index, operand)
                     : place_rows(shape, operand);
  }

 private:
  bool is_given_ = false;
  std::int64_t numbers_[1 + 4 * 4];
};

// Of arrays that have been read: where their rows are, what may not overlap, the operator's
// arguments.
Status place_forward(const Setting& setting, const Layouts& layouts, ForwardCall* call) {
  if (call->residual.array.is_given() != call->sum.array.is_wanted()) {
    return {Code::kInvalidValue, "The arguments 'residual' and 'sumOut' must go together"};
  }
  const auto& [shape, options, format] = setting;
  RMSNORM_TRY(layouts.place(shape, 0, &call->x));
  RMSNORM_TRY(place_vector(shape.hidden_size, &call->weight));
  RMSNORM_TRY(layouts.place(shape, 1, &call->y));
  RMSNORM_TRY(place_vector(shape.rows, &call->rstd));
  if (call->residual.array.is_given()) {
    RMSNORM_TRY(layouts.place(shape, 2, &call->residual));
    RMSNORM_TRY(layouts.place(shape, 3, &call->sum));
    RMSNORM_TRY(check_overlap(call->sum, {&call->weight}, {&call->x, &call->residual}));
  }
  RMSNORM_TRY(check_overlap(call->y, {&call->weight, &call->rstd, &call->sum},
                            {&call->x, &call->residual}));
  if (call->rstd.array.is_given()) {
    RMSNORM_TRY(
        check_overlap(call->rstd, {&call->x, &call->weight, &call->residual, &call->sum}, {}));
  }

  call->args = {.shape = shape,
                .options = options,
                .dtype = format.dtype,
                .x = call->x.as<ConstRows>(),
                .weight = {call->weight.data(), call->weight.array.dtype},
                .y = call->y.as<Rows>(),
                .rstd = call->rstd.data(),
                .residual = call->residual.as<ConstRows>(),
                .sum = call->sum.as<Rows>()};
  call->device = format.device;
  return {};
}

Status place_backward(const Setting& setting, const Layouts& layouts, BackwardCall* call) {
  if (call->dsum.array.is_given() && !call->dx.array.is_wanted()) {
    return {Code::kInvalidValue, "The argument 'dsum' must be left out without a dxOut"};
  }
  const auto& [shape, options, format] = setting;
  RMSNORM_TRY(layouts.place(shape, 0, &call->dy));
  RMSNORM_TRY(layouts.place(shape, 1, &call->x));
  RMSNORM_TRY(place_vector(shape.hidden_size, &call->weight));
  RMSNORM_TRY(place_vector(shape.rows, &call->rstd));
  RMSNORM_TRY(layouts.place(shape, 2, &call->dx));
  RMSNORM_TRY(place_vector(shape.hidden_size, &call->dweight));
  RMSNORM_TRY(layouts.place(shape, 3, &call->dsum));
  if (!call->dx.array.is_wanted()) RMSNORM_TRY(check_rows_have_memory(call->dy, call->x));
  RMSNORM_TRY(check_overlap(call->dx, {&call->weight, &call->rstd, &call->dweight},
                            {&call->dy, &call->x, &call->dsum}));
  RMSNORM_TRY(check_overlap(call->dweight,
                            {&call->dy, &call->x, &call->weight, &call->rstd, &call->dsum}, {}));

  call->args = {.shape = shape,
                .options = options,
                .dtype = format.dtype,
                .dy = call->dy.as<ConstRows>(),
                .x = call->x.as<ConstRows>(),
                .weight = {call->weight.data(), call->weight.array.dtype},
                .rstd = call->rstd.data(),
                .dx = call->dx.as<Rows>(),
                .dweight = call->dweight.data(),
                .dweight_dtype = call->dweight.array.dtype,
                .accumulate = format.accumulate,
                .dsum = call->dsum.as<ConstRows>()};
  call->device = format.device;
  return {};
}

}  // namespace

Status read_forward(napi_env env, napi_callback_info info, bool is_async, ForwardCall* call) {
  ArgumentReader reader(env, info);
  if (is_async) reader.look_for_shared_memory();
  if (!is_async) reader.look_for_device_memory();
  const Format format = read_format(reader, 7);
  const Presence optional_output = is_async ? Presence::kOptionalOrFresh : Presence::kOptional;
  reader.array("x", format.dtype, Presence::kRequired, &call->x.array);
  reader.array("weight", format.dtype, Presence::kOptional, &call->weight.array, true);
  reader.array("out", format.dtype, is_async ? Presence::kRequiredOrFresh : Presence::kRequired,
               &call->y.array);
  reader.array("rstdOut", rstd_dtype(format), optional_output, &call->rstd.array);
  const std::int64_t hidden_size = reader.integer("hiddenSize", 1, kMaxSafeInteger);
  const Options options = read_options(reader, format);
  reader.skip();
  Layouts layouts;
  napi_value stream = nullptr;
  if (!reader.is_at_end()) {
    reader.array("residual", format.dtype, Presence::kOptional, &call->residual.array);
    reader.array("sumOut", format.dtype, optional_output, &call->sum.array);
    layouts.read(reader);
    if (!is_async) stream = reader.any();
  }
  RMSNORM_TRY(reader.status());
  RMSNORM_TRY(read_place(env, stream, format.device, call));
  Setting setting{{}, options, format};
  RMSNORM_TRY(layouts.shape(call->x.array, hidden_size, &setting.shape));
  return place_forward(setting, layouts, call);
}

Status read_backward(napi_env env, napi_callback_info info, bool is_async, BackwardCall* call) {
  ArgumentReader reader(env, info);
  if (is_async) reader.look_for_shared_memory();
  if (!is_async) reader.look_for_device_memory();
  const Format format = read_format(reader, 9);
  const Presence output = is_async ? Presence::kOptionalOrFresh : Presence::kOptional;
  reader.array("dy", format.dtype, Presence::kRequired, &call->dy.array);
  reader.array("x", format.dtype, Presence::kRequired, &call->x.array);
  reader.array("weight", format.dtype, Presence::kOptional, &call->weight.array, true);
  reader.array("rstd", rstd_dtype(format), Presence::kOptional, &call->rstd.array);
  reader.array("dxOut", format.dtype, output, &call->dx.array);
  Array& dweight = call->dweight.array;
  reader.array("dweightOut", format.dtype, output, &dweight, true);
  if (dweight.is_fresh && format.fresh_float32 && format.dtype != DType::kFloat64) {
    dweight.dtype = DType::kFloat32;
  }
  const std::int64_t hidden_size = reader.integer("hiddenSize", 1, kMaxSafeInteger);
  const Options options = read_options(reader, format);
  reader.skip();
  Layouts layouts;
  napi_value stream = nullptr;
  if (!reader.is_at_end()) {
    reader.array("dsum", format.dtype, Presence::kOptional, &call->dsum.array);
    layouts.read(reader);
    if (!is_async) stream = reader.any();
  }
  RMSNORM_TRY(reader.status());
  RMSNORM_TRY(read_place(env, stream, format.device, call));
  Setting setting{{}, options, format};
  RMSNORM_TRY(layouts.shape(call->x.array, hidden_size, &setting.shape));
  return place_backward(setting, layouts, call);
}

Status read_place(napi_env env, napi_value stream, int ordinal, ForwardCall* call) {
  return read_place(env, stream, ordinal,
                    {&call->x, &call->weight, &call->y, &call->rstd, &call->residual, &call->sum},
                    &call->queue);
}

Status read_place(napi_env env, napi_value stream, int ordinal, BackwardCall* call) {
  return read_place(
      env, stream, ordinal,
      {&call->x, &call->dy, &call->weight, &call->rstd, &call->dx, &call->dweight, &call->dsum},
      &call->queue);
}

Status read_setting(ArgumentReader& reader, Setting* setting) {
  const Format format = read_format(reader, 4);
  const std::int64_t rows = reader.integer("rows", 0, kMaxSafeInteger);
  const std::int64_t hidden_size = reader.integer("hiddenSize", 1, kMaxSafeInteger);
  *setting = {{rows, hidden_size}, read_options(reader, format), format};
  RMSNORM_TRY(reader.status());
  if (rows <= kMaxSafeInteger / hidden_size) return {};
  return {Code::kOutOfRange, "The argument 'rows' must be such that x has up to 2^53 elements"};
}

Status read_planned_forward(ArgumentReader& reader, const Setting& setting, ForwardCall* call) {
  const DType dtype = setting.format.dtype;
  reader.array("x", dtype, Presence::kRequired, &call->x.array);
  reader.array("out", dtype, Presence::kRequired, &call->y.array);
  reader.array("rstdOut", rstd_dtype(setting.format), Presence::kOptional, &call->rstd.array);
  if (!reader.is_at_end()) {
    reader.array("residual", dtype, Presence::kOptional, &call->residual.array);
    reader.array("sumOut", dtype, Presence::kOptional, &call->sum.array);
  }
  RMSNORM_TRY(reader.status());
  return place_forward(setting, Layouts(), call);
}

Status read_planned_backward(ArgumentReader& reader, const Setting& setting, BackwardCall* call) {
  const DType dtype = setting.format.dtype;
  reader.array("dy", dtype, Presence::kRequired, &call->dy.array);
  reader.array("x", dtype, Presence::kRequired, &call->x.array);
  reader.array("rstd", rstd_dtype(setting.format), Presence::kOptional, &call->rstd.array);
  reader.array("dxOut", dtype, Presence::kOptional, &call->dx.array);
  reader.array("dweightOut", dtype, Presence::kOptional, &call->dweight.array, true);
  if (!reader.is_at_end()) {
    reader.array("dsum", dtype, Presence::kOptional, &call->dsum.array);
  }
  RMSNORM_TRY(reader.status());
  return place_backward(setting, Layouts(), call);
}

}  // namespace rmsnorm::napi
