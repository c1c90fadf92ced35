// Turns a Status into the JavaScript error that is thrown or that rejects a promise. Errors are
// made only here.
#pragma once

#include <node_api.h>

#include <new>

#include "../op/status.h"

namespace rmsnorm::napi {

// The JavaScript error for a status that is not ok.
napi_value make_error(napi_env env, const Status& status);

// Throws that error and returns null.
napi_value throw_status(napi_env env, const Status& status);

// The status for std::bad_alloc. Neither it nor its JavaScript error allocates C++ memory.
Status out_of_memory();

// The status when Node-API refuses what no argument can make it refuse: the JavaScript environment
// is shutting down.
Status ending();

// Resolves a promise with the value that outcome(&value) sets (undefined by default), or rejects it
// with the error that outcome() returns. The same try block covers outcome() and the making of its
// error, because both may run out of memory.
template <class Outcome>
void settle(napi_env env, napi_deferred deferred, const Outcome& outcome) {
  napi_value value = nullptr;
  napi_value error = nullptr;
  napi_get_undefined(env, &value);
  try {
    const Status status = outcome(&value);
    if (!status.ok()) error = make_error(env, status);
  } catch (const std::bad_alloc&) {
    error = make_error(env, out_of_memory());
  }
  if (error == nullptr) {
    napi_resolve_deferred(env, deferred, value);
  } else {
    napi_reject_deferred(env, deferred, error);
  }
}

}  // namespace rmsnorm::napi
