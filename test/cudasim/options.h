// The configuration of the simulated machine, which the first call reads from the environment.
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
  std::string function;  // "*" counts the calls of all functions for which may_fail() is true
  std::int64_t call = 1;
  int error = 0;
};

struct Options {
  std::vector<DeviceModel> devices{DeviceModel::of(9, 0)};
  int driver_version = 13000;
  std::uint64_t seed = 1;
  std::string trace;    // path; empty: none
  std::string calls;    // path for the counts of driver calls; empty: none
  bool execute = true;  // false: launches are checked and dropped
  std::vector<Failure> failures;
  // Queued work that nobody waits for starts after this time. Without a value, only a wait or a
  // query starts it, so that the order of execution depends only on the seed.
  std::optional<std::chrono::microseconds> patience{200};
};

// `get` is std::getenv or a replacement. Throws std::invalid_argument, which names the variable,
// its value and what was expected.
using Environment = std::function<const char*(const char* name)>;
Options read_options(const Environment& get);

}  // namespace cudasim
