// The maximum number of threads of a call, and what decides it.
#pragma once

#include <cstdint>
#include <string>

#include "../op/status.h"

namespace rmsnorm::cpu {

static constexpr int kMaxThreads = 256;

enum class ThreadCountSource : std::uint16_t {
  kSet,           // set_thread_count()
  kEnvironment,   // RMSNORM_NUM_THREADS
  kCgroupQuota,   // the default, limited by a cgroup
  kAffinityMask,  // the default, limited by the affinity mask
  kProcessors,    // the default, without a limit
};

// Eight bytes without padding, so that it can be one atomic variable.
struct ThreadCount {
  std::uint16_t count = 0;  // includes the caller's thread; 0: not known yet
  ThreadCountSource source = ThreadCountSource::kProcessors;
  float quota = 0;  // in processors; 0 unless the source is kCgroupQuota
};

// The calling thread's own count, if it has one, else the process's count. The process's count is
// RMSNORM_NUM_THREADS if that variable is set, else the number of processors that this process may
// use. It is determined at the first call. thread_count() gives the count without its source.
// Errors: kInvalidEnvironment if the variable is not in [1, kMaxThreads].
Status find_thread_count(ThreadCount* found);
Status thread_count(int* count);

// Sets the count that find_thread_count() returns: the calling thread's own count, if it has one,
// else the process's count.
void set_thread_count(int count);

// The count of one thread, such as a Node.js Worker, which replaces the process's count there. If
// the text for it was invalid, `status` is the error that calls of this thread return.
struct OwnThreadCount {
  ThreadCount value;
  Status status;
};

// Parses the text of RMSNORM_NUM_THREADS.
OwnThreadCount read_thread_count(const std::string& text);

// The calling thread's own count; null until use_own_thread_count() sets it. The object stays the
// caller's and must live until another one, or null, takes its place.
OwnThreadCount* own_thread_count();
void use_own_thread_count(OwnThreadCount* own);

}  // namespace rmsnorm::cpu
