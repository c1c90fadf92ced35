#include "thread_count.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "../os/platform.h"
#include "../os/processors.h"

namespace rmsnorm::cpu {
namespace {

std::atomic<ThreadCount> process_thread_count{ThreadCount{}};
static_assert(std::atomic<ThreadCount>::is_always_lock_free);

ThreadCount make_count(int count, ThreadCountSource source, double quota = 0) {
  return {static_cast<std::uint16_t>(count), source, static_cast<float>(quota)};
}

ThreadCountSource source_of(ProcessorLimit limit) {
  switch (limit) {
    case ProcessorLimit::kCgroupQuota:
      return ThreadCountSource::kCgroupQuota;
    case ProcessorLimit::kAffinityMask:
      return ThreadCountSource::kAffinityMask;
    case ProcessorLimit::kNone:
      break;
  }
  return ThreadCountSource::kProcessors;
}

Status find_process_thread_count(ThreadCount* found) {
  if (const auto text = environment_variable("RMSNORM_NUM_THREADS")) {
    const OwnThreadCount read = read_thread_count(*text);
    *found = read.value;
    return read.status;
  }
  const Processors processors = available_processors();
  *found = make_count(std::min(processors.count, kMaxThreads), source_of(processors.limit),
                      processors.quota);
  return {};
}

}  // namespace

OwnThreadCount read_thread_count(const std::string& text) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (*end == '\0' && value >= 1 && value <= kMaxThreads) {
    return {make_count(static_cast<int>(value), ThreadCountSource::kEnvironment), {}};
  }
  return {make_count(1, ThreadCountSource::kEnvironment),
          {Code::kInvalidEnvironment,
           "The environment variable RMSNORM_NUM_THREADS must be an integer from 1 to " +
               std::to_string(kMaxThreads) + ". Received '" + text + "'"}};
}

OwnThreadCount* own_thread_count() {
  return static_cast<OwnThreadCount*>(borrowed_thread_pointer());
}
void use_own_thread_count(OwnThreadCount* own) { set_borrowed_thread_pointer(own); }

Status find_thread_count(ThreadCount* found) {
  if (const OwnThreadCount* const own = own_thread_count()) {
    *found = own->value;
    return own->status;
  }
  *found = process_thread_count.load(std::memory_order_relaxed);
  if (found->count != 0) return {};
  RMSNORM_TRY(find_process_thread_count(found));
  // Another thread may have set the process's count since it was loaded above.
  ThreadCount earlier;
  if (!process_thread_count.compare_exchange_strong(earlier, *found, std::memory_order_relaxed)) {
    *found = earlier;
  }
  return {};
}

Status thread_count(int* count) {
  ThreadCount found;
  Status status = find_thread_count(&found);
  *count = found.count;
  return status;
}

void set_thread_count(int count) {
  const ThreadCount set = make_count(count, ThreadCountSource::kSet);
  if (OwnThreadCount* const own = own_thread_count()) {
    *own = {set, {}};
  } else {
    process_thread_count.store(set, std::memory_order_relaxed);
  }
}

}  // namespace rmsnorm::cpu
