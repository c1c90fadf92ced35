// From a Status to the JavaScript error that a caller sees: the one place where errors are made.
#pragma once

#include <node_api.h>

#include <string>

#include "../status.h"

namespace rmsnorm::napi {

napi_value make_string(napi_env env, const std::string& text);

// The JavaScript error of a status that is not ok.
napi_value make_error(napi_env env, const Status& status);

// Throws it, and returns null.
napi_value throw_status(napi_env env, const Status& status);

}  // namespace rmsnorm::napi
