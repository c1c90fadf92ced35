// What the driver calls its errors, and the names of the functions that are simulated.
#pragma once

#include <string_view>

#include "cuda/driver/driver_api.h"

namespace cudasim {

using namespace rmsnorm::cuda;  // the driver's names, as its callers know them

// Errors that callers do not tell apart, so that driver_api.h does not list them.
inline constexpr CUresult kDeinitialized{4};
inline constexpr CUresult kContextIsDestroyed{709};

struct ErrorText {
  CUresult code;
  const char* name;
  const char* text;
};

// Null if there is no such error.
const ErrorText* find_error(CUresult code);
const ErrorText* find_error(std::string_view name);

// Which function, as an index that counts from 0 in the order of driver_api.h.
enum class Call {
#define CUDASIM_CALL(name, parameters) name,
  RMSNORM_DRIVER_FUNCTIONS(CUDASIM_CALL)
#undef CUDASIM_CALL
};

inline constexpr const char* kCallNames[] = {
#define CUDASIM_NAME(name, parameters) #name,
    RMSNORM_DRIVER_FUNCTIONS(CUDASIM_NAME)
#undef CUDASIM_NAME
};

bool is_driver_function(std::string_view name);

// Not what gives something back or ends it, and what has to come before that: where such a call
// fails, its caller can do no better than to leak.
bool may_fail(Call call);

}  // namespace cudasim
