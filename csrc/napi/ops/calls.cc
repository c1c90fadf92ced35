// forward and backward, now: the record and the arguments in, the backend's status out.

#include "calls.h"

#include <iterator>

#include "../args/call.h"
#include "../errors.h"

namespace rmsnorm::napi {
namespace {

template <Status (*run)(const Call&)>
napi_value call_now(napi_env env, napi_callback_info info, const Operation& operation) {
  napi_value values[kMaxOperands + 1];
  std::size_t count = std::size(values);  // arguments that were not passed are undefined
  void* record = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &record);
  Call call;
  Status status = read_call(env, operation, *static_cast<const CallRecord*>(record), values,
                            CallKind::kNow, &call);
  if (status.ok()) status = run(call);
  return status.ok() ? nullptr : throw_status(env, status);
}

}  // namespace

napi_value forward(napi_env env, napi_callback_info info) {
  return call_now<run_forward>(env, info, kForward);
}

napi_value backward(napi_env env, napi_callback_info info) {
  return call_now<run_backward>(env, info, kBackward);
}

}  // namespace rmsnorm::napi
