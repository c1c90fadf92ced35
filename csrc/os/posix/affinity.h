// The affinity mask of this process, on Linux.
#pragma once

#if defined(__linux__)

#include <sched.h>
#include <sys/types.h>

#include <cstddef>

namespace rmsnorm {

using ReadAffinity = int (*)(pid_t, std::size_t, cpu_set_t*);

// Counts the processors in the affinity mask of this process: the mask of its main thread,
// whichever thread asks. The cpuset of a container narrows the mask, too. Returns 0 if the system
// does not report the mask.
int affinity_count(ReadAffinity read = sched_getaffinity);

}  // namespace rmsnorm

#endif
