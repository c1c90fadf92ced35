#include "calls.h"

#include <vector>

#include "../../cpu/backend.h"
#include "../../cpu/thread_pool.h"
#include "../../os/platform.h"
#include "../args/arguments.h"
#include "../results.h"
#include "dispatch.h"

namespace rmsnorm::napi {
namespace {

napi_value finish(napi_env env, const Status& status) {
  return status.ok() ? nullptr : throw_status(env, status);
}

Status run_forward(napi_env env, napi_callback_info info) {
  ForwardCall call;
  RMSNORM_TRY(read_forward(env, info, false, &call));
  return run(call);
}

Status run_backward(napi_env env, napi_callback_info info) {
  BackwardCall call;
  RMSNORM_TRY(read_backward(env, info, false, &call));
  return run(call);
}

// The dtypes that convert() knows: all but float64.
DType convertible(ArgumentReader& reader, std::size_t index, const char* name) {
  return static_cast<DType>(reader.integer_at(index, name, 0, 2));
}

Status run_convert(napi_env env, napi_callback_info info) {
  ArgumentReader reader(env, info);
  const DType from = convertible(reader, 1, "from");
  const DType to = convertible(reader, 3, "to");
  Operand source;
  Operand destination;
  reader.array("source", from, Presence::kRequired, &source.array);
  reader.skip();
  reader.array("out", to, Presence::kRequired, &destination.array);
  RMSNORM_TRY(reader.status());
  const std::int64_t length = source.array.memory.length;
  RMSNORM_TRY(place_vector(length, &source));
  RMSNORM_TRY(place_vector(length, &destination));
  RMSNORM_TRY(check_overlap(destination, {&source}, {}));
  return cpu::convert(from, source.data(), to, destination.data(), length);
}

}  // namespace

napi_value forward(napi_env env, napi_callback_info info) {
  return finish(env, run_forward(env, info));
}

napi_value backward(napi_env env, napi_callback_info info) {
  return finish(env, run_backward(env, info));
}

napi_value convert(napi_env env, napi_callback_info info) {
  return finish(env, run_convert(env, info));
}

napi_value advise_huge_pages(napi_env env, napi_callback_info info) {
  napi_value array = nullptr;
  std::size_t count = 1;
  napi_get_cb_info(env, info, &count, &array, nullptr, nullptr);
  void* data = nullptr;
  std::int64_t bytes = 0;
  if (!read_view(env, array, &data, &bytes)) {
    return throw_status(env, {Code::kWrongType, "The argument 'array' must be an array. Received " +
                                                    describe(env, array)});
  }
  rmsnorm::advise_huge_pages(data, bytes);
  return nullptr;
}

napi_value cpu_variants(napi_env env, napi_callback_info) {
  std::vector<napi_value> names;
  for (const cpu::Variant* const* variant = cpu::kVariants; *variant != nullptr; ++variant) {
    if (cpu::is_supported(**variant)) names.push_back(make_string(env, (*variant)->name));
  }
  return make_list(env, names);
}

napi_value cpu_variant(napi_env env, napi_callback_info) {
  const cpu::Variant* variant = nullptr;
  const Status status = cpu::current_variant(&variant);
  return status.ok() ? make_string(env, variant->name) : throw_status(env, status);
}

napi_value set_cpu_variant(napi_env env, napi_callback_info info) {
  ArgumentReader reader(env, info);
  const std::string name = reader.text("name");
  if (!reader.status().ok()) return throw_status(env, reader.status());
  const cpu::Variant* variant = cpu::find_variant(name);
  if (variant == nullptr) {
    return throw_status(env, {Code::kInvalidValue,
                              "The argument 'name' must be a CPU variant that this processor runs. "
                              "Received '" +
                                  name + "'"});
  }
  cpu::set_variant(*variant);
  return nullptr;
}

napi_value num_threads(napi_env env, napi_callback_info) {
  int count = 0;
  const Status status = cpu::thread_count(&count);
  if (!status.ok()) return throw_status(env, status);
  return make_number(env, count);
}

napi_value set_num_threads(napi_env env, napi_callback_info info) {
  ArgumentReader reader(env, info);
  const std::int64_t count = reader.integer("count", 1, cpu::kMaxThreads);
  if (!reader.status().ok()) return throw_status(env, reader.status());
  cpu::set_thread_count(static_cast<int>(count));
  return nullptr;
}

}  // namespace rmsnorm::napi
