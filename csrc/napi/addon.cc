// The names that the addon exports, and its loading: once in every environment (the main thread, a
// worker), or more often. What environments share is of the process and lives in the backends.

#include <node_api.h>

#include <array>
#include <span>
#include <vector>

#include "args/call_record.h"
#include "environment.h"
#include "gpu/objects.h"
#include "method.h"
#include "ops/calls.h"
#include "ops/tools.h"
#include "results.h"

namespace rmsnorm::napi {
namespace {

constexpr napi_property_descriptor kCalls[] = {
    method<forward>("forward"),
    method<backward>("backward"),
    method<forward_async>("forwardAsync"),
    method<backward_async>("backwardAsync"),
};

napi_value make_names(napi_env env, std::span<const char* const> names) {
  std::vector<napi_value> values;
  for (const char* name : names) values.push_back(make_string(env, name));
  return make_list(env, values);
}

// The tables of operation.h, for a comparison with JavaScript's.
napi_value make_rules(napi_env env, std::span<const OperandRule> rules) {
  std::vector<napi_value> values;
  for (const OperandRule& rule : rules) {
    const auto number = [&](auto field) { return make_number(env, static_cast<double>(field)); };
    values.push_back(make_object(env, {{"name", make_string(env, rule.name)},
                                       {"extent", number(rule.extent)},
                                       {"element", number(rule.element)},
                                       {"use", number(rule.use)},
                                       {"mayEqual", number(rule.may_equal)},
                                       {"needs", number(rule.needs)}}));
  }
  return make_list(env, values);
}

napi_value make_operations(napi_env env) {
  return make_object(env, {{"forward", make_rules(env, kForwardRules)},
                           {"backward", make_rules(env, kBackwardRules)}});
}

napi_value init(napi_env env, napi_value exports) {
  Environment* environment = nullptr;
  Status status = Environment::make(env);
  napi_value buffer = nullptr;
  void* record = nullptr;
  if (status.ok()) status = Environment::of(env, &environment);
  if (status.ok()) status = environment->share_memory(sizeof(CallRecord), &buffer, &record);
  if (!status.ok()) return throw_status(env, status);
  auto calls = std::to_array(kCalls);
  for (napi_property_descriptor& call : calls) call.data = record;
  napi_define_properties(env, exports, calls.size(), calls.data());
  napi_define_properties(env, exports, kTools.size(), kTools.data());
  set_own(env, exports, {"record", buffer});
  set_own(env, exports, {"recordIntegers", make_names(env, kRecordIntegers)});
  set_own(env, exports, {"recordNumbers", make_names(env, kRecordNumbers)});
  set_own(env, exports, {"operations", make_operations(env)});
  set_own(env, exports, {"package", make_string(env, RMSNORM_PACKAGE)});
  export_gpu(env, exports);
  return exports;
}

}  // namespace
}  // namespace rmsnorm::napi

NAPI_MODULE_INIT() {
  try {
    return rmsnorm::napi::init(env, exports);
  } catch (const std::bad_alloc&) {
    return rmsnorm::napi::throw_status(env, rmsnorm::napi::out_of_memory());
  }
}
