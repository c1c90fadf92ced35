// How many processors this process may use (posix/processors.cc, windows/processors.cc).
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

namespace rmsnorm {

// Why a process may use fewer processors than the machine has.
enum class ProcessorLimit { kNone, kAffinityMask, kCgroupQuota };

struct Processors {
  int count;             // at least 1
  ProcessorLimit limit;  // what lowers the count most
  double quota;          // in processors, such as 0.5; 0 unless the limit is kCgroupQuota
};

// Reads a few files on Linux.
Processors available_processors();

// Combines the processors of the machine, those of the affinity mask (0: unknown) and the quota of
// the cgroup. A limit counts only if it lowers the count.
inline Processors limit_processors(int all, int allowed, std::optional<double> quota) {
  Processors found{std::max(all, 1), ProcessorLimit::kNone, 0};
  if (allowed > 0) found.count = allowed;
  if (allowed > 0 && allowed < all) found.limit = ProcessorLimit::kAffinityMask;
  if (quota && *quota > 0 && std::ceil(*quota) < found.count) {
    found = {static_cast<int>(std::ceil(*quota)), ProcessorLimit::kCgroupQuota, *quota};
  }
  return found;
}

}  // namespace rmsnorm
