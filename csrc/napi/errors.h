// From a Status to the JavaScript error that a caller sees: the one place where errors are made.
#pragma once

#include <node_api.h>

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

}  // namespace rmsnorm::napi
