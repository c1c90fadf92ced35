#include "tools.h"

#include <string>
#include <vector>

#include "../../cpu/backend.h"
#include "../../cpu/thread_pool.h"
#include "../../os/platform.h"
#include "../arguments.h"
#include "../results.h"
#include "../values.h"

namespace rmsnorm::napi {
namespace {

// A function of its arguments, whose result is undefined unless it sets one.
template <Status (*function)(const Arguments&, napi_value* result)>
napi_value call_tool(napi_env env, napi_callback_info info) {
  Arguments arguments;
  napi_value result = nullptr;
  Status status = arguments.read(env, info);
  if (status.ok()) status = function(arguments, &result);
  return status.ok() ? result : throw_status(env, status);
}

template <Status (*function)(const Arguments&, napi_value* result)>
constexpr napi_property_descriptor tool(const char* name) {
  return method<call_tool<function>>(name);
}

Status convert(const Arguments& arguments, napi_value*) {
  HostArray source;
  HostArray out;
  RMSNORM_TRY(arguments.array(0, "source", &source));
  RMSNORM_TRY(arguments.array(2, "out", &out));
  if (out.length != source.length) {
    return {Code::kOutOfRange, "The argument 'out' must have " + std::to_string(source.length) +
                                   " elements. Received " + std::to_string(out.length)};
  }
  const auto* const begin = static_cast<const char*>(out.data);
  const auto* const source_begin = static_cast<const char*>(source.data);
  if (begin < source_begin + source.bytes() && source_begin < begin + out.bytes()) {
    return {Code::kInvalidValue, "The arrays 'out' and 'source' must not overlap in memory"};
  }
  return cpu::convert(source.dtype, source.data, out.dtype, out.data, source.length);
}

Status advise_huge_pages(const Arguments& arguments, napi_value*) {
  void* data = nullptr;
  std::int64_t bytes = 0;
  if (!read_view(arguments.env(), arguments[0], &data, &bytes)) {
    return arguments.wrong_type(0, "array", "an array");
  }
  rmsnorm::advise_huge_pages(data, bytes);
  return {};
}

Status cpu_variants(const Arguments& arguments, napi_value* result) {
  std::vector<napi_value> names;
  for (const cpu::Variant* const* variant = cpu::kVariants; *variant != nullptr; ++variant) {
    if (cpu::is_supported(**variant)) {
      names.push_back(make_string(arguments.env(), (*variant)->name));
    }
  }
  *result = make_list(arguments.env(), names);
  return {};
}

Status cpu_variant(const Arguments& arguments, napi_value* result) {
  const cpu::Variant* variant = nullptr;
  RMSNORM_TRY(cpu::current_variant(&variant));
  *result = make_string(arguments.env(), variant->name);
  return {};
}

Status set_cpu_variant(const Arguments& arguments, napi_value*) {
  std::string name;
  RMSNORM_TRY(arguments.text(0, "name", &name));
  const cpu::Variant* variant = cpu::find_variant(name);
  if (variant == nullptr) {
    return {Code::kInvalidValue,
            "The argument 'name' must be a CPU variant that this processor runs. Received '" +
                name + "'"};
  }
  cpu::set_variant(*variant);
  return {};
}

Status num_threads(const Arguments& arguments, napi_value* result) {
  int count = 0;
  RMSNORM_TRY(cpu::thread_count(&count));
  *result = make_number(arguments.env(), count);
  return {};
}

Status set_num_threads(const Arguments& arguments, napi_value*) {
  std::int64_t count = 0;
  RMSNORM_TRY(arguments.integer(0, "count", 1, cpu::kMaxThreads, &count));
  cpu::set_thread_count(static_cast<int>(count));
  return {};
}

constexpr napi_property_descriptor kMethods[] = {
    tool<convert>("convert"),
    tool<advise_huge_pages>("adviseHugePages"),
    tool<cpu_variants>("cpuVariants"),
    tool<cpu_variant>("cpuVariant"),
    tool<set_cpu_variant>("setCpuVariant"),
    tool<num_threads>("numThreads"),
    tool<set_num_threads>("setNumThreads"),
};

}  // namespace

constinit const Methods kTools = kMethods;

}  // namespace rmsnorm::napi
