#include "plan.h"

#include <memory>

#include "../args/arguments.h"
#include "../args/place.h"
#include "../gpu/stream.h"
#include "../method.h"
#include "../results.h"
#include "dispatch.h"

namespace rmsnorm::napi {
namespace {

// What the two functions of a plan share. It refers to nothing of JavaScript's: the weight and the
// stream are arguments of each call, so that a weight that refers to its plan can be collected.
class Plan {
 public:
  // `weight`: null for none.
  Plan(const Setting& setting, const DType* weight)
      : setting_(setting),
        has_weight_(weight != nullptr),
        weight_dtype_(weight != nullptr ? *weight : setting.format.dtype) {}

  Status forward(napi_env env, ArgumentReader& reader) const {
    ForwardCall call;
    const napi_value stream = begin(reader, &call.weight.array);
    RMSNORM_TRY(read_planned_forward(reader, setting_, &call));
    if (is_on_cpu()) return cpu::forward(call.args);
    RMSNORM_TRY(read_place(env, stream, setting_.format.device, &call));
    return run(call);
  }

  Status backward(napi_env env, ArgumentReader& reader) const {
    BackwardCall call;
    const napi_value stream = begin(reader, &call.weight.array);
    RMSNORM_TRY(read_planned_backward(reader, setting_, &call));
    if (is_on_cpu()) return cpu::backward(call.args);
    RMSNORM_TRY(read_place(env, stream, setting_.format.device, &call));
    return run(call);
  }

 private:
  bool is_on_cpu() const { return setting_.format.device == kCpu; }

  // Reads the weight, whose length is checked with those of the other operands. Returns the stream.
  napi_value begin(ArgumentReader& reader, Array* weight) const {
    if (!is_on_cpu()) reader.look_for_device_memory();
    if (has_weight_) {
      reader.array("weight", weight_dtype_, Presence::kRequired, weight);
    } else {
      reader.skip();
    }
    return reader.any();
  }

  Setting setting_;
  bool has_weight_;
  DType weight_dtype_;
};

template <Status (Plan::*function)(napi_env, ArgumentReader&) const>
napi_value planned(napi_env env, napi_callback_info info) {
  void* plan = nullptr;
  ArgumentReader reader(env, info, &plan);
  const Status status = (static_cast<const Plan*>(plan)->*function)(env, reader);
  return status.ok() ? nullptr : throw_status(env, status);
}

// A function that keeps its plan; null if the environment has no room for it.
napi_value make_function(napi_env env, const char* name, napi_callback callback,
                         const std::shared_ptr<Plan>& plan) {
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, plan.get(), &function) !=
      napi_ok) {
    return nullptr;
  }
  auto kept = std::make_unique<std::shared_ptr<Plan>>(plan);
  const auto finalize = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<Plan>*>(data);
  };
  if (napi_add_finalizer(env, function, kept.get(), finalize, nullptr, nullptr) != napi_ok) {
    return nullptr;
  }
  kept.release();
  return function;
}

// That there is such a device, with such a stream, and that the weight is there.
Status check_place(napi_env env, napi_value stream, int ordinal, const Operand& weight) {
  cuda::StreamPtr queue;
  if (weight.array.is_given()) return read_place(env, stream, ordinal, {&weight}, &queue);
  if (ordinal == kCpu) return {};
  cuda::Device* device = nullptr;
  Environment* environment = nullptr;
  RMSNORM_TRY(cuda::find_device(ordinal, &device));
  RMSNORM_TRY(Environment::of(env, &environment));
  return read_stream(*environment, stream, *device, &queue);
}

Status make_plan(napi_env env, napi_callback_info info, napi_value* functions) {
  ArgumentReader reader(env, info);
  reader.look_for_device_memory();
  Setting setting;
  RMSNORM_TRY(read_setting(reader, &setting));
  Operand weight;
  reader.skip();  // the format
  reader.array("weight", setting.format.dtype, Presence::kOptional, &weight.array, true);
  const napi_value stream = reader.any();
  RMSNORM_TRY(reader.status());
  RMSNORM_TRY(place_vector(setting.shape.hidden_size, &weight));
  RMSNORM_TRY(check_place(env, stream, setting.format.device, weight));
  const auto plan =
      std::make_shared<Plan>(setting, weight.array.is_given() ? &weight.array.dtype : nullptr);
  const napi_value forward = make_function(env, "forward", guarded<planned<&Plan::forward>>, plan);
  const napi_value backward =
      make_function(env, "backward", guarded<planned<&Plan::backward>>, plan);
  if (forward == nullptr || backward == nullptr) return ending();
  *functions = make_object(env, {{"forward", forward}, {"backward", backward}});
  return {};
}

}  // namespace

napi_value create_plan(napi_env env, napi_callback_info info) {
  napi_value functions = nullptr;
  const Status status = make_plan(env, info, &functions);
  return status.ok() ? functions : throw_status(env, status);
}

}  // namespace rmsnorm::napi
