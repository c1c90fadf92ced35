#include "../processors.h"

#include <thread>

#include "affinity.h"
#include "cgroup.h"

namespace rmsnorm {

Processors available_processors() {
  const int all = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  return limit_processors(all, affinity_count(), cgroup_quota());
#else
  return limit_processors(all, 0, std::nullopt);
#endif
}

}  // namespace rmsnorm
