#include "plain_calls.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "../../cpu/backend.h"
#include "../errors.h"
#include "../values.h"

namespace rmsnorm::napi {
namespace {

// The bytes of a view, as elements of a dtype.
struct Elements {
  char* data;
  std::int64_t bytes;
  std::int64_t count;

  const char* end() const { return data + bytes; }
};

bool is_apart(const Elements& a, const Elements& b) {
  return a.end() <= b.data || b.end() <= a.data;
}
bool is_same_or_apart(const Elements& a, const Elements& b) {
  return a.data == b.data || is_apart(a, b);
}

// False if the value is no view, or an empty one, or not one of whole elements.
bool read_elements(napi_env env, napi_value value, DType dtype, Elements* elements) {
  void* data = nullptr;
  std::int64_t bytes = 0;
  if (!read_view(env, value, &data, &bytes)) return false;
  // A power of two: to divide by it would take as long as all else here.
  const auto size = static_cast<std::uint64_t>(element_size(dtype));
  *elements = {static_cast<char*>(data), bytes, bytes >> std::countr_zero(size)};
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return bytes > 0 && ((static_cast<std::uint64_t>(bytes) | address) & (size - 1)) == 0;
}

// A dtype that plain calls know: all but float64.
bool read_dtype(napi_env env, napi_value value, DType* dtype) {
  std::int32_t number = -1;
  if (napi_get_value_int32(env, value, &number) != napi_ok || number < 0 || number > 2)
    return false;
  *dtype = static_cast<DType>(number);
  return true;
}

// The shape of x; false if it has broken rows, or its like is not as long.
bool read_shape(const Elements& x, const Elements& like_x, const Elements& weight, Shape* shape) {
  *shape = {x.count / weight.count, weight.count};
  return x.count == like_x.count && shape->rows * weight.count == x.count;
}

// The arguments of a plain call; false if it is none.
bool read_plain(napi_env env, napi_callback_info info, ForwardArgs* args) {
  napi_value values[5];
  std::size_t count = std::size(values);
  double& eps = args->options.eps;
  Elements x;
  Elements weight;
  Elements y;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok ||
      !read_dtype(env, values[4], &args->dtype) ||
      napi_get_value_double(env, values[3], &eps) != napi_ok ||
      !read_elements(env, values[0], args->dtype, &x) ||
      !read_elements(env, values[1], args->dtype, &weight) ||
      !read_elements(env, values[2], args->dtype, &y)) {
    return false;
  }
  args->x = {x.data, weight.count};
  args->weight = {weight.data, args->dtype};
  args->y = {y.data, weight.count};
  return eps >= 0 && eps <= kMaxFloat && read_shape(x, y, weight, &args->shape) &&
         is_same_or_apart(y, x) && is_apart(y, weight);
}

bool read_plain(napi_env env, napi_callback_info info, BackwardArgs* args) {
  napi_value values[7];
  std::size_t count = std::size(values);
  Elements dy;
  Elements x;
  Elements weight;
  Elements rstd;
  Elements dx;
  Elements dweight;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok ||
      !read_dtype(env, values[6], &args->dtype) ||
      !read_elements(env, values[0], args->dtype, &dy) ||
      !read_elements(env, values[1], args->dtype, &x) ||
      !read_elements(env, values[2], args->dtype, &weight) ||
      !read_elements(env, values[3], DType::kFloat32, &rstd) ||
      !read_elements(env, values[4], args->dtype, &dx) ||
      !read_elements(env, values[5], args->dtype, &dweight)) {
    return false;
  }
  args->dy = {dy.data, weight.count};
  args->x = {x.data, weight.count};
  args->weight = {weight.data, args->dtype};
  args->rstd = rstd.data;
  args->dx = {dx.data, weight.count};
  args->dweight = dweight.data;
  args->dweight_dtype = args->dtype;
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
