// From a Status to the JavaScript error that a caller sees, or a promise's: the one place where
// errors are made.
#pragma once

#include <node_api.h>

#include <new>

#include "../op/status.h"

namespace rmsnorm::napi {

// The JavaScript error of a status that is not ok.
napi_value make_error(napi_env env, const Status& status);

// Throws it, and returns null.
napi_value throw_status(napi_env env, const Status& status);

// What std::bad_alloc becomes. Neither this nor its JavaScript error allocates memory of C++.
Status out_of_memory();

// What Node-API's refusals mean that no argument can cause.
Status ending();

// Settles a promise with the value that outcome(&value) leaves, by default undefined, or with its
// error. An error is made in the same place, since that takes memory, too.
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
