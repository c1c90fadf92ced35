#include "plan.h"

#include <memory>
#include <new>

#include "arguments.h"
#include "dispatch.h"
#include "place.h"
#include "stream.h"

namespace rmsnorm::napi {
namespace {

// A value that JavaScript may let go of in the meantime; or nothing.
class Reference {
 public:
  Reference(napi_env env, napi_value value) : env_(env) {
    if (value != nullptr) napi_create_reference(env, value, 1, &reference_);
  }
  ~Reference() {
    if (reference_ != nullptr) napi_delete_reference(env_, reference_);
  }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;

  // Null for nothing.
  napi_value value() const {
    napi_value value = nullptr;
    if (reference_ != nullptr) napi_get_reference_value(env_, reference_, &value);
    return value;
  }

 private:
  napi_env env_;
  napi_ref reference_ = nullptr;
};

// What the two functions of a plan share.
class Plan {
 public:
  Plan(napi_env env, const Setting& setting, const Array& weight, napi_value stream)
      : env_(env),
        setting_(setting),
        weight_(weight),
        weight_reference_(env, weight.value),
        stream_(env, stream) {}

  Status forward(ArgumentReader& reader) const {
    ForwardCall call;
    RMSNORM_TRY(begin(reader, &call.weight.array));
    RMSNORM_TRY(read_planned_forward(reader, setting_, &call));
    if (is_on_cpu()) return cpu::forward(call.args);
    RMSNORM_TRY(read_place(env_, stream_.value(), setting_.format.device, &call));
    return run(call);
  }

  Status backward(ArgumentReader& reader) const {
    BackwardCall call;
    RMSNORM_TRY(begin(reader, &call.weight.array));
    RMSNORM_TRY(read_planned_backward(reader, setting_, &call));
    if (is_on_cpu()) return cpu::backward(call.args);
    RMSNORM_TRY(read_place(env_, stream_.value(), setting_.format.device, &call));
    return run(call);
  }

 private:
  bool is_on_cpu() const { return setting_.format.device == kCpu; }

  // Reads the weight as it is now: it can have been detached, or disposed of.
  Status begin(ArgumentReader& reader, Array* weight) const {
    if (!is_on_cpu()) reader.look_for_device_memory();
    *weight = weight_;
    if (!weight->is_given()) return {};
    weight->value = weight_reference_.value();
    if (weight->memory.buffer != nullptr) {
      return read_buffer(*weight->memory.buffer, weight->name, &weight->memory);
    }
    read_memory(env_, weight->value, false, &weight->memory);
    return {};
  }

  napi_env env_;
  Setting setting_;
  Array weight_;
  Reference weight_reference_;
  Reference stream_;
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

// That there is such a device, with such a stream, and that the weight is there.
Status check_place(napi_env env, napi_value stream, int ordinal, const Operand& weight) {
  cuda::QueuePtr queue;
  if (weight.array.is_given()) return read_place(env, stream, ordinal, {&weight}, &queue);
  if (ordinal == kCpu) return {};
  cuda::Device* device = nullptr;
  Environment* environment = nullptr;
  RMSNORM_TRY(cuda::find_device(ordinal, &device));
  RMSNORM_TRY(Environment::of(env, &environment));
  return read_queue(*environment, stream, *device, &queue);
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
  const auto plan = std::make_shared<Plan>(env, setting, weight.array, stream);
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
