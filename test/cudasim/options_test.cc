#include "options.h"

#include <doctest/doctest.h>

#include <map>
#include <stdexcept>
#include <string>

#include "errors.h"

namespace cudasim {
namespace {

using Variables = std::map<std::string, std::string>;

Options read(const Variables& variables) {
  return read_options([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST_CASE("without variables all options have their defaults") {
  for (const Variables& variables : {Variables{}, Variables{{"CUDASIM_CC", ""}}}) {
    const Options options = read(variables);
    REQUIRE(options.devices.size() == 1);
    CHECK(options.devices[0].major == 9);
    CHECK(options.devices[0].minor == 0);
    CHECK(options.driver_version == 13000);
    CHECK(options.trace.empty());
    CHECK(options.calls.empty());
    CHECK(options.execute);
    CHECK(options.failures.empty());
    REQUIRE(options.patience.has_value());
    CHECK(options.patience->count() == 200);
  }
}

TEST_CASE("each variable is read") {
  const Options options = read({{"CUDASIM_DEVICES", "3"},
                                {"CUDASIM_CC", "8.0,7.5"},
                                {"CUDASIM_SMS", "10"},
                                {"CUDASIM_MEMORY", "4096,8192,16384"},
                                {"CUDASIM_DRIVER_VERSION", "12040"},
                                {"CUDASIM_SEED", "77"},
                                {"CUDASIM_TRACE", "/tmp/trace"},
                                {"CUDASIM_CALLS", "/tmp/calls"},
                                {"CUDASIM_EXECUTE", "0"},
                                {"CUDASIM_PATIENCE_US", "never"},
                                {"CUDASIM_FAIL",
                                 "cuMemAlloc_v2@3:CUDA_ERROR_OUT_OF_MEMORY,"
                                 "cuInit@1:CUDA_ERROR_UNKNOWN"}});
  REQUIRE(options.devices.size() == 3);
  const int majors[] = {8, 7, 7};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(options.devices[i].major == majors[i]);
    CHECK(options.devices[i].multiprocessors == 10);
    CHECK(options.devices[i].memory_bytes == std::size_t{4096} << i);
  }
  CHECK(options.driver_version == 12040);
  CHECK(options.seed == 77);
  CHECK(options.trace == "/tmp/trace");
  CHECK(options.calls == "/tmp/calls");
  CHECK_FALSE(options.execute);
  CHECK_FALSE(options.patience.has_value());
  REQUIRE(options.failures.size() == 2);
  CHECK(options.failures[0].function == "cuMemAlloc_v2");
  CHECK(options.failures[0].call == 3);
  CHECK(options.failures[0].error == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(options.failures[1].error == CUDA_ERROR_UNKNOWN);
  CHECK(read({{"CUDASIM_FAIL", "*@5:CUDA_ERROR_UNKNOWN"}}).failures.at(0).function == "*");
  CHECK(read({{"CUDASIM_DEVICES", "0"}}).devices.empty());
  CHECK(read({{"CUDASIM_CC", "12.1"}}).devices.at(0).major == 12);
  CHECK(read({{"CUDASIM_CC", "12.1"}}).devices.at(0).minor == 1);
}

TEST_CASE("an invalid value is refused with the name of its variable") {
  const std::pair<const char*, const char*> cases[] = {
      {"CUDASIM_DEVICES", "-1"},
      {"CUDASIM_DEVICES", "two"},
      {"CUDASIM_DEVICES", "1x"},
      {"CUDASIM_CC", "6.1"},
      {"CUDASIM_CC", "8.x"},
      {"CUDASIM_CC", "8.10"},
      {"CUDASIM_CC", "9"},
      {"CUDASIM_CC", "9.0,"},
      {"CUDASIM_SMS", "0"},
      {"CUDASIM_MEMORY", "1GB"},
      {"CUDASIM_MEMORY", ","},
      {"CUDASIM_DRIVER_VERSION", "13.0"},
      {"CUDASIM_SEED", "-1"},
      {"CUDASIM_EXECUTE", "no"},
      {"CUDASIM_PATIENCE_US", "0.5"},
      {"CUDASIM_FAIL", "cuMemAlloc_v2"},
      {"CUDASIM_FAIL", "cuMemAlloc_v2@0:CUDA_ERROR_UNKNOWN"},
      {"CUDASIM_FAIL", "cuMemAlloc@1:CUDA_ERROR_UNKNOWN"},
      {"CUDASIM_FAIL", "cuMemAlloc_v2@1:OUT_OF_MEMORY"},
      {"CUDASIM_FAIL", "cuMemAlloc_v2@1:CUDA_SUCCESS"},
  };
  for (const auto& [name, value] : cases) {
    CAPTURE(name);
    CAPTURE(value);
    std::string message;
    try {
      read({{name, value}});
    } catch (const std::invalid_argument& refusal) {
      message = refusal.what();
    }
    CHECK(message.starts_with(std::string(name) + "=" + value + ": expected "));
  }
}

}  // namespace
}  // namespace cudasim
