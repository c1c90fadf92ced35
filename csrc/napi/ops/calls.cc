#include "calls.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "../../cpu/backend.h"
#include "../../cpu/thread_pool.h"
#include "../../os/platform.h"
#include "../args/call.h"
#include "../errors.h"
#include "../results.h"
#include "../values.h"

namespace rmsnorm::napi {
namespace {

napi_value finish(napi_env env, const Status& status) {
  return status.ok() ? nullptr : throw_status(env, status);
}

// A call of the record and the arguments, made now.
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
  return finish(env, status);
}

// The dtypes that convert() knows: all but float64.
DType convertible(ArgumentReader& reader, std::size_t index, const char* name) {
  return static_cast<DType>(reader.integer_at(index, name, 0, 2));
}

Status run_convert(napi_env env, napi_callback_info info) {
  ArgumentReader reader(env, info);
  const DType from = convertible(reader, 1, "from");
  const DType to = convertible(reader, 3, "to");
  const Memory source = reader.array("source", from);
  reader.skip();
  const Memory destination = reader.array("out", to);
  RMSNORM_TRY(reader.status());
  if (destination.length != source.length) {
    return {Code::kOutOfRange, "The argument 'out' must have " + std::to_string(source.length) +
                                   " elements. Received " + std::to_string(destination.length)};
  }
  const auto bytes_of = [](const Memory& memory, DType dtype) {
    const auto* const begin = static_cast<const char*>(memory.data);
    return std::pair(begin, begin + memory.length * element_size(dtype));
  };
  const auto [begin, end] = bytes_of(destination, to);
  const auto [source_begin, source_end] = bytes_of(source, from);
  if (begin < source_end && source_begin < end) {
    return {Code::kInvalidValue, "The arrays 'out' and 'source' must not overlap in memory"};
  }
  return cpu::convert(from, source.data, to, destination.data, source.length);
}

}  // namespace

napi_value forward(napi_env env, napi_callback_info info) {
  return call_now<run_forward>(env, info, kForward);
}

napi_value backward(napi_env env, napi_callback_info info) {
  return call_now<run_backward>(env, info, kBackward);
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
