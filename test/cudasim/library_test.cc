// Tests the shared library itself: its exports, and its environment variables in a new process.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"

namespace cudasim {
namespace {

std::string output_of(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 4096> buffer;
  for (std::size_t got; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    text.append(buffer.data(), got);
  }
  REQUIRE(pclose(pipe) == 0);
  return text;
}

TEST_CASE("the library exports exactly the functions that the addon calls") {
  const std::string symbols =
      output_of("nm --dynamic --defined-only --format=posix '" CUDASIM_LIBRARY "'");
  std::set<std::string> exported;
  for (std::size_t at = 0; at < symbols.size(); at = symbols.find('\n', at) + 1) {
    exported.insert(symbols.substr(at, symbols.find(' ', at) - at));
  }
  CHECK(exported == std::set<std::string>(std::begin(kCallNames), std::end(kCallNames)));
  CHECK(output_of("readelf -d '" CUDASIM_LIBRARY "'").find("[libcuda.so.1]") != std::string::npos);
}

// Runs test(library) in a child process with these environment variables. Returns its result, 0 to
// 255.
template <class Test>
int in_child(const std::vector<std::pair<const char*, const char*>>& variables, const Test& test) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const auto& [name, value] : variables) setenv(name, value, 1);
    void* library = dlopen(CUDASIM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    _exit(library == nullptr ? 255 : test(library));
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

template <class Function>
Function* find(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

int initialise(void* library) { return find<CUresult(unsigned)>(library, "cuInit")(0); }

TEST_CASE("environment variables configure the driver") {
  CHECK(in_child({}, initialise) == CUDA_SUCCESS);
  CHECK(in_child({{"CUDASIM_DEVICES", "0"}}, initialise) == CUDA_ERROR_NO_DEVICE);
  CHECK(in_child({{"CUDASIM_FAIL", "cuInit@1:CUDA_ERROR_INVALID_DEVICE"}}, initialise) ==
        CUDA_ERROR_INVALID_DEVICE);
  CHECK(in_child({{"CUDASIM_DEVICES", "3"}}, [](void* library) {
          int count = 0;
          initialise(library);
          find<CUresult(int*)>(library, "cuDeviceGetCount")(&count);
          return count;
        }) == 3);
}

void* ending_library = nullptr;

TEST_CASE("calls return CUDA_ERROR_DEINITIALIZED once exit has begun") {
  CHECK(in_child({}, [](void* library) {
          ending_library = library;
          // Registered before the library's own atexit handler, so it runs after that.
          std::atexit([] { _exit(initialise(ending_library)); });
          if (initialise(library) != CUDA_SUCCESS) _exit(255);
          std::exit(254);
          return 0;
        }) == CUDA_ERROR_DEINITIALIZED);
}

TEST_CASE("an invalid environment makes calls return CUDA_ERROR_UNKNOWN") {
  // CUDA_ERROR_UNKNOWN, 999, does not fit into an exit status.
  const auto unknown = [](void* library) { return initialise(library) == CUDA_ERROR_UNKNOWN; };
  CHECK(in_child({{"CUDASIM_CC", "6.1"}}, unknown) == 1);
  CHECK(in_child({{"CUDASIM_TRACE", "/nowhere/trace"}}, unknown) == 1);
}

}  // namespace
}  // namespace cudasim
