// How the simulated machine is to be: read once from the environment, before the first call.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "machine.h"

namespace cudasim {

// The `call`-th call of `function` does nothing and returns `error`.
struct Failure {
  std::string function;  // "*" counts the calls of all that may_fail()
  std::int64_t call = 1;
  int error = 0;
};

struct Options {
  std::vector<DeviceModel> devices{DeviceModel::of(9, 0)};
  int driver_version = 13000;
  std::uint64_t seed = 1;
  std::string trace;    // empty: none
  std::string calls;    // where counts of the driver's calls go; empty: none
  bool execute = true;  // false: launches are checked and dropped
  std::vector<Failure> failures;
  // Queued work that nobody waits for starts after this long; without a value only a wait or a
  // query starts it, which makes the order of execution depend on the seed alone.
  std::optional<std::chrono::microseconds> patience{200};
};

// `get` is std::getenv or stands in for it. Throws std::invalid_argument that names the variable,
// its value and what was expected.
using Environment = std::function<const char*(const char* name)>;
Options read_options(const Environment& get);

}  // namespace cudasim
