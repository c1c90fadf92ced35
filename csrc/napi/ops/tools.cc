#include <string>
#include <vector>

#include "../../cpu/backend.h"
#include "../../cpu/thread_count.h"
#include "../../cpu/thread_pool.h"
#include "../../os/platform.h"
#include "../results.h"
#include "calls.h"

namespace rmsnorm::napi {
namespace {

Status convert(Arguments& arguments) {
  HostArray source;
  HostArray out;
  RMSNORM_TRY(arguments.array(0, "source", &source));
  RMSNORM_TRY(arguments.array(2, "out", &out));
  if (out.length != source.length) return length_error("out", source.length, out.length);
  const auto* const begin = static_cast<const char*>(out.data);
  const auto* const source_begin = static_cast<const char*>(source.data);
  if (begin < source_begin + source.bytes() && source_begin < begin + out.bytes()) {
    return {Code::kInvalidValue, "The arrays 'out' and 'source' must not overlap in memory"};
  }
  const auto is_convertible = [](DType one, DType other) {
    const bool is_float8 = is_quantized(one) && one != DType::kInt8;
    return !is_quantized(one) || (is_float8 && other == DType::kFloat32);
  };
  if (!is_convertible(source.dtype, out.dtype) || !is_convertible(out.dtype, source.dtype)) {
    return {Code::kInvalidValue, "These types cannot be converted to each other"};
  }
  return cpu::convert(source.dtype, source.data, out.dtype, out.data, source.length);
}

Status advise_huge_pages(Arguments& arguments) {
  void* data = nullptr;
  std::int64_t bytes = 0;
  if (!read_view(arguments.env(), arguments[0], &data, &bytes)) {
    return arguments.wrong_type(0, "array", "an array");
  }
  rmsnorm::advise_huge_pages(data, bytes);
  return {};
}

Status cpu_variants(Arguments& arguments) {
  std::vector<napi_value> names;
  for (const cpu::Variant* const* variant = cpu::kVariants; *variant != nullptr; ++variant) {
    if (cpu::is_supported(**variant)) {
      names.push_back(make_string(arguments.env(), (*variant)->name));
    }
  }
  arguments.returns(make_list(arguments.env(), names));
  return {};
}

Status cpu_variant(Arguments& arguments) {
  const cpu::Variant* variant = nullptr;
  RMSNORM_TRY(cpu::current_variant(&variant));
  arguments.returns(make_string(arguments.env(), variant->name));
  return {};
}

Status set_cpu_variant(Arguments& arguments) {
  std::string name;
  RMSNORM_TRY(arguments.text(0, "name", &name));
  const cpu::Variant* variant = cpu::find_variant(name);
  if (variant == nullptr) {
    return {Code::kInvalidValue,
            "The argument 'name' must be a CPU variant that this processor supports. Received '" +
                name + "'"};
  }
  cpu::set_variant(*variant);
  return {};
}

const char* source_name(cpu::ThreadCountSource source) {
  switch (source) {
    case cpu::ThreadCountSource::kSet:
      return "setNumThreads";
    case cpu::ThreadCountSource::kEnvironment:
      return "RMSNORM_NUM_THREADS";
    case cpu::ThreadCountSource::kCgroupQuota:
      return "cgroup quota";
    case cpu::ThreadCountSource::kAffinityMask:
      return "affinity mask";
    case cpu::ThreadCountSource::kProcessors:
      break;
  }
  return "processors";
}

Status num_threads(Arguments& arguments) {
  int count = 0;
  RMSNORM_TRY(cpu::thread_count(&count));
  arguments.returns(make_number(arguments.env(), count));
  return {};
}

// Returns the name of what decides the thread count, and the quota in processors (thread_count.h).
Status num_threads_source(Arguments& arguments) {
  cpu::ThreadCount found;
  RMSNORM_TRY(cpu::find_thread_count(&found));
  arguments.returns(
      make_list(arguments.env(), {make_string(arguments.env(), source_name(found.source)),
                                  make_number(arguments.env(), found.quota)}));
  return {};
}

Status set_num_threads(Arguments& arguments) {
  std::int64_t count = 0;
  RMSNORM_TRY(arguments.integer(0, "count", 1, cpu::kMaxThreads, &count));
  cpu::set_thread_count(static_cast<int>(count));
  return {};
}

constexpr napi_property_descriptor kMethods[] = {
    method<convert>("convert"),
    method<advise_huge_pages>("adviseHugePages"),
    method<cpu_variants>("cpuVariants"),
    method<cpu_variant>("cpuVariant"),
    method<set_cpu_variant>("setCpuVariant"),
    method<num_threads>("numThreads"),
    method<num_threads_source>("numThreadsSource"),
    method<set_num_threads>("setNumThreads"),
};

}  // namespace

constinit const Methods kTools = kMethods;

}  // namespace rmsnorm::napi
