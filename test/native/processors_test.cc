// How many processors a process may use: how the limits combine, and the affinity mask.

#include "os/processors.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <optional>
#include <thread>

#if defined(__linux__)
#include "os/posix/affinity.h"
#endif

namespace rmsnorm::test {
namespace {

void check(const Processors& found, int count, ProcessorLimit limit, double quota = 0) {
  CHECK(found.count == count);
  CHECK(found.limit == limit);
  CHECK(found.quota == quota);
}

}  // namespace

TEST_CASE("processors: the strictest limit applies, and is named only if it lowers the count") {
  using enum ProcessorLimit;
  const auto none = std::nullopt;
  check(limit_processors(8, 8, none), 8, kNone);
  check(limit_processors(8, 3, none), 3, kAffinityMask);
  check(limit_processors(8, 8, 2.0), 2, kCgroupQuota, 2);
  check(limit_processors(8, 8, 2.1), 3, kCgroupQuota, 2.1);
  check(limit_processors(8, 8, 0.01), 1, kCgroupQuota, 0.01);
  check(limit_processors(8, 3, 2.5), 3, kAffinityMask);
  check(limit_processors(8, 3, 1.5), 2, kCgroupQuota, 1.5);
  check(limit_processors(8, 8, 7.5), 8, kNone);
  check(limit_processors(8, 8, 1e300), 8, kNone);
  check(limit_processors(1, 1, 0.5), 1, kNone);
}

TEST_CASE("processors: unknown limits are ignored, and the count is at least one") {
  using enum ProcessorLimit;
  check(limit_processors(0, 0, std::nullopt), 1, kNone);
  check(limit_processors(8, 0, std::nullopt), 8, kNone);
  check(limit_processors(0, 4, std::nullopt), 4, kNone);
  check(limit_processors(8, 0, 0.0), 8, kNone);
  check(limit_processors(8, 0, -1.0), 8, kNone);
  check(limit_processors(-1, 0, 0.5), 1, kNone);
}

TEST_CASE("processors: the count is from 1 to the number of the machine's processors") {
  const int count = available_processors().count;
  CHECK(count >= 1);
  CHECK(count <= static_cast<int>(std::thread::hardware_concurrency()));
}

#if defined(__linux__)

TEST_CASE("affinity: the mask is the process's, whichever thread asks") {
  cpu_set_t before;
  CPU_ZERO(&before);
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(affinity_count() == CPU_COUNT(&before));

  cpu_set_t one;
  CPU_ZERO(&one);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_SET(first, &one);
  std::thread([&] {
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(affinity_count() == CPU_COUNT(&before));
  }).join();

  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(affinity_count() == 1);
  CHECK(available_processors().count == 1);
  std::thread([] { CHECK(affinity_count() == 1); }).join();
  CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("affinity: a machine may have more processors than a cpu_set_t has bits") {
  // A kernel for 8192 processors that allows every second one.
  const auto large = [](pid_t, std::size_t bytes, cpu_set_t* mask) {
    if (bytes < 1024) {
      errno = EINVAL;
      return -1;
    }
    auto* const words = reinterpret_cast<unsigned char*>(mask);
    for (std::size_t i = 0; i < 1024; ++i) words[i] = 0x55;
    return 0;
  };
  CHECK(affinity_count(large) == 4096);
}

TEST_CASE("affinity: the count is 0 if the system call fails") {
  static int calls = 0;
  const auto refuse = [](pid_t, std::size_t, cpu_set_t*) {
    ++calls;
    errno = EPERM;
    return -1;
  };
  const auto refuse_every_size = [](pid_t, std::size_t, cpu_set_t*) {
    errno = EINVAL;
    return -1;
  };
  CHECK(affinity_count(refuse) == 0);
  CHECK(calls == 1);
  CHECK(affinity_count(refuse_every_size) == 0);
}

#endif

}  // namespace rmsnorm::test
