#include "plan.h"

#include <memory>
#include <new>

#include "../cpu/backend.h"
#include "arguments.h"

namespace rmsnorm::napi {
namespace {

// What the two functions of a plan share.
class Plan {
 public:
  Plan(napi_env env, const Setting& setting, const Array& weight)
      : env_(env), setting_(setting), weight_(weight) {
    if (weight.is_given()) napi_create_reference(env, weight.value, 1, &reference_);
  }
  ~Plan() {
    if (reference_ != nullptr) napi_delete_reference(env_, reference_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  Status forward(ArgumentReader& reader) const {
    ForwardCall call;
    read_weight(&call.weight.array);
    RMSNORM_TRY(read_planned_forward(reader, setting_, &call));
    return cpu::forward(call.args);
  }

  Status backward(ArgumentReader& reader) const {
    BackwardCall call;
    read_weight(&call.weight.array);
    RMSNORM_TRY(read_planned_backward(reader, setting_, &call));
    return cpu::backward(call.args);
  }

 private:
  // The weight as it is now: its buffer can have been detached.
  void read_weight(Array* weight) const {
    *weight = weight_;
    if (reference_ == nullptr) return;
    napi_get_reference_value(env_, reference_, &weight->value);
    read_memory(env_, weight->value, false, &weight->memory);
  }

  napi_env env_;
  Setting setting_;
  Array weight_;
  napi_ref reference_ = nullptr;  // of the weight
};

template <Status (Plan::*function)(ArgumentReader&) const>
napi_value planned(napi_env env, napi_callback_info info) {
  void* plan = nullptr;
  ArgumentReader reader(env, info, &plan);
  const Status status = (static_cast<const Plan*>(plan)->*function)(reader);
  return status.ok() ? nullptr : throw_status(env, status);
}

// A function that keeps its plan.
napi_value make_function(napi_env env, const char* name, napi_callback callback,
                         const std::shared_ptr<Plan>& plan) {
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, plan.get(), &function) !=
      napi_ok) {
    return nullptr;
  }
  auto kept = std::make_unique<std::shared_ptr<Plan>>(plan);
  const auto let_go = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<Plan>*>(data);
  };
  if (napi_add_finalizer(env, function, kept.get(), let_go, nullptr, nullptr) != napi_ok) {
    return nullptr;
  }
  kept.release();
  return function;
}

Status make_plan(napi_env env, napi_callback_info info, napi_value* functions) {
  ArgumentReader reader(env, info);
  Setting setting;
  RMSNORM_TRY(read_setting(reader, &setting));
  Operand weight;
  reader.skip();  // the format
  reader.array("weight", setting.format.dtype, Presence::kOptional, &weight.array, true);
  RMSNORM_TRY(reader.status());
  RMSNORM_TRY(place_vector(setting.shape.hidden_size, &weight));
  if (setting.format.device != kCpu) {
    return {Code::kInvalidValue, "The argument 'format' must be of a call on the CPU"};
  }
  const auto plan = std::make_shared<Plan>(env, setting, weight.array);
  napi_create_array_with_length(env, 2, functions);
  napi_set_element(env, *functions, 0,
                   make_function(env, "forward", planned<&Plan::forward>, plan));
  napi_set_element(env, *functions, 1,
                   make_function(env, "backward", planned<&Plan::backward>, plan));
  return {};
}

}  // namespace

napi_value create_plan(napi_env env, napi_callback_info info) {
  napi_value functions = nullptr;
  try {
    const Status status = make_plan(env, info, &functions);
    return status.ok() ? functions : throw_status(env, status);
  } catch (const std::bad_alloc&) {
    return throw_status(env, {Code::kOutOfMemory, "Out of memory"});
  }
}

}  // namespace rmsnorm::napi
