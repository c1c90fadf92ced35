#include "plain_calls.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "../cpu/backend.h"
#include "errors.h"
#include "values.h"

namespace rmsnorm::napi {
namespace {

// The bytes of a view, as float32.
struct Floats {
  float* data;
  std::int64_t count;

  const float* end() const { return data + count; }
};

bool is_apart(const Floats& a, const Floats& b) { return a.end() <= b.data || b.end() <= a.data; }
bool is_same_or_apart(const Floats& a, const Floats& b) {
  return a.data == b.data || is_apart(a, b);
}

// The elements of kCount views, none of them empty; false if any is not such.
template <std::size_t kCount>
bool read_floats(napi_env env, const napi_value* values, Floats (&all)[kCount]) {
  for (std::size_t i = 0; i < kCount; ++i) {
    // A view of any kind is a buffer. To ask is needed: what is none would end the process.
    bool is_buffer = false;
    void* data = nullptr;
    std::size_t bytes = 0;
    if (napi_is_buffer(env, values[i], &is_buffer) != napi_ok || !is_buffer ||
        napi_get_buffer_info(env, values[i], &data, &bytes) != napi_ok) {
      return false;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    if (bytes == 0 || bytes % sizeof(float) != 0 || address % alignof(float) != 0) return false;
    all[i] = {static_cast<float*>(data), static_cast<std::int64_t>(bytes / sizeof(float))};
  }
  return true;
}

// The shape of x; false if it has broken rows, or its like is not as long.
bool read_shape(const Floats& x, const Floats& like_x, const Floats& weight, Shape* shape) {
  *shape = {x.count / weight.count, weight.count};
  return x.count == like_x.count && shape->rows * weight.count == x.count;
}

// The arguments of a plain call; false if it is none.
bool read_plain(napi_env env, napi_callback_info info, ForwardArgs* args) {
  napi_value values[4];
  std::size_t count = std::size(values);
  Floats all[3];
  double& eps = args->options.eps;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok ||
      !read_floats(env, values, all) || napi_get_value_double(env, values[3], &eps) != napi_ok) {
    return false;
  }
  const auto& [x, weight, y] = all;
  args->dtype = DType::kFloat32;
  args->x = {x.data, weight.count};
  args->weight = {weight.data};
  args->y = {y.data, weight.count};
  return eps >= 0 && eps <= kMaxFloat && read_shape(x, y, weight, &args->shape) &&
         is_same_or_apart(y, x) && is_apart(y, weight);
}

bool read_plain(napi_env env, napi_callback_info info, BackwardArgs* args) {
  napi_value values[6];
  std::size_t count = std::size(values);
  Floats all[6];
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok ||
      !read_floats(env, values, all)) {
    return false;
  }
  const auto& [dy, x, weight, rstd, dx, dweight] = all;
  args->dtype = DType::kFloat32;
  args->dy = {dy.data, weight.count};
  args->x = {x.data, weight.count};
  args->weight = {weight.data};
  args->rstd = rstd.data;
  args->dx = {dx.data, weight.count};
  args->dweight = dweight.data;
  args->dweight_dtype = DType::kFloat32;
  return read_shape(x, dy, weight, &args->shape) && dx.count == x.count &&
         rstd.count == args->shape.rows && dweight.count == weight.count &&
         is_same_or_apart(dx, dy) && is_same_or_apart(dx, x) && is_apart(dx, weight) &&
         is_apart(dx, rstd) && is_apart(dweight, dy) && is_apart(dweight, x) &&
         is_apart(dweight, weight) && is_apart(dweight, rstd) && is_apart(dweight, dx);
}

template <class Args, Status (*run)(const Args&)>
napi_value plain_call(napi_env env, napi_callback_info info) {
  Args args{};
  const bool is_plain = read_plain(env, info, &args);
  if (is_plain) {
    if (const Status status = run(args); !status.ok()) return throw_status(env, status);
  }
  napi_value done = nullptr;
  napi_get_boolean(env, is_plain, &done);
  return done;
}

}  // namespace

napi_value plain_forward(napi_env env, napi_callback_info info) {
  return plain_call<ForwardArgs, cpu::forward>(env, info);
}

napi_value plain_backward(napi_env env, napi_callback_info info) {
  return plain_call<BackwardArgs, cpu::backward>(env, info);
}

}  // namespace rmsnorm::napi
