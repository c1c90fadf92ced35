// The CPU quota that Linux's control groups (cgroups) set for this process.
#pragma once

#include <optional>
#include <string>

namespace rmsnorm {

// The strictest CPU quota of this process's cgroups and of all their visible ancestors, in
// processors, such as 0.5; nothing if there is no quota. Reads cgroup v1, v2, and both at once.
// Files that are missing or malformed set no quota. `root` is put before every path, so that tests
// can read a file system of their own.
std::optional<double> cgroup_quota(const std::string& root = {});

}  // namespace rmsnorm
