#include "object_call.h"

namespace rmsnorm::napi {
namespace {

constexpr std::int64_t kMaxOrdinal = 1023;

}  // namespace

Status ObjectCall::begin(napi_env env, napi_callback_info info) {
  RMSNORM_TRY(read(env, info));
  RMSNORM_TRY(Environment::of(env, &environment_));
  return environment_->open_promises();
}

Status ObjectCall::device(std::size_t index, cuda::Device** device) {
  std::int64_t ordinal = 0;
  RMSNORM_TRY(integer(index, "device", 0, kMaxOrdinal, &ordinal));
  return cuda::find_device(static_cast<int>(ordinal), device);
}

}  // namespace rmsnorm::napi
