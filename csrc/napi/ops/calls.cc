// The exports for the operator, as binding.d.ts declares them: forward, backward and their
// asynchronous versions, the memory of the call record, and the tables of operands.
#include "calls.h"

#include <iterator>
#include <span>
#include <vector>

#include "../args/call.h"
#include "../errors.h"
#include "../results.h"
#include "../values.h"

namespace rmsnorm::napi {
namespace {

// A synchronous call: reads the record and the arguments, runs, and throws any error. This is a
// plain Node-API callback without the class Arguments, to save time: on a short row, reading the
// arguments takes most of the call's time.
template <const Operation& operation, Status (*run)(const Call&)>
napi_value call_now(napi_env env, napi_callback_info info) {
  napi_value values[1 + kMaxOperands];
  std::size_t count = std::size(values);  // arguments that were not passed are undefined
  void* record = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &record);
  Call call;
  Status status = read_call(env, operation, *static_cast<const CallRecord*>(record), values[0],
                            values + 1, CallKind::kNow, &call);
  if (status.ok()) status = run(call);
  return status.ok() ? nullptr : throw_status(env, status);
}

// The callback data is the call record.
constexpr napi_property_descriptor kCalls[] = {
    method<call_now<kForward, run_forward>>("forward"),
    method<call_now<kBackward, run_backward>>("backward"),
    method<forward_async>("forwardAsync"),
    method<backward_async>("backwardAsync"),
};

// Makes a record of zeros in memory that JavaScript shares. `buffer` is its SharedArrayBuffer:
// nobody can move its memory, or free it while the buffer lives. Errors: kInvalidState.
Status make_record(napi_env env, napi_value* buffer, void** record) {
  napi_value global = nullptr;
  napi_value buffer_class = nullptr;
  napi_value array_class = nullptr;
  napi_value array = nullptr;
  napi_value length = make_number(env, sizeof(CallRecord));
  std::int64_t bytes = 0;
  if (napi_get_global(env, &global) != napi_ok ||
      napi_get_named_property(env, global, "SharedArrayBuffer", &buffer_class) != napi_ok ||
      napi_get_named_property(env, global, "Uint8Array", &array_class) != napi_ok ||
      napi_new_instance(env, buffer_class, 1, &length, buffer) != napi_ok ||
      napi_new_instance(env, array_class, 1, buffer, &array) != napi_ok || !is_shared(env, array) ||
      !read_view(env, array, record, &bytes) || bytes != sizeof(CallRecord)) {
    return ending();
  }
  return {};
}

// Exports functions that share one record. Each function holds the record's buffer in a property
// that cannot be changed, so that the memory lives as long as the last function. A Node-API
// reference would keep the record until the thread ends. A thread that loads the addon several
// times would then keep one record for each load.
Status export_functions(napi_env env, napi_value exports, napi_value buffer, void* record) {
  const napi_property_descriptor held{"record", nullptr, nullptr,      nullptr,
                                      nullptr,  buffer,  napi_default, nullptr};
  for (const napi_property_descriptor& call : kCalls) {
    napi_value function = nullptr;
    if (napi_create_function(env, call.utf8name, NAPI_AUTO_LENGTH, call.method, record,
                             &function) != napi_ok ||
        napi_define_properties(env, function, 1, &held) != napi_ok) {
      return ending();
    }
    set_own(env, exports, {call.utf8name, function});
  }
  return {};
}

napi_value make_names(napi_env env, std::span<const char* const> names) {
  std::vector<napi_value> values;
  for (const char* name : names) values.push_back(make_string(env, name));
  return make_list(env, values);
}

// The tables of operation.h, so that a test can compare them with JavaScript's.
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

}  // namespace

Status export_calls(napi_env env, napi_value exports) {
  napi_value buffer = nullptr;
  void* record = nullptr;
  RMSNORM_TRY(make_record(env, &buffer, &record));
  RMSNORM_TRY(export_functions(env, exports, buffer, record));
  set_own(env, exports, {"record", buffer});
  set_own(env, exports, {"recordIntegers", make_names(env, kRecordIntegers)});
  set_own(env, exports, {"recordNumbers", make_names(env, kRecordNumbers)});
  set_own(env, exports,
          {"operations", make_object(env, {{"forward", make_rules(env, kForwardRules)},
                                           {"backward", make_rules(env, kBackwardRules)}})});
  napi_define_properties(env, exports, kTools.size(), kTools.data());
  return {};
}

}  // namespace rmsnorm::napi
