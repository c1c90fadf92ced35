// The worker threads of the process. Work is split across them and the caller.
#pragma once

#include <cstdint>

namespace rmsnorm::cpu {

// Runs the items [begin, end). `slot` numbers the threads of one parallel_for: 0 is the caller, and
// all are less than Threads::max.
struct Task {
  void (*run)(void* context, std::int64_t begin, std::int64_t end, int slot);
  void* context;
};

// The maximum number of threads for some work, the caller's included.
struct Threads {
  constexpr Threads(int count) : max(count), max_woken(count) {}
  constexpr Threads(int max_threads, int max_woken_threads)
      : max(max_threads), max_woken(max_woken_threads) {}
  int max;
  int max_woken;  // the maximum if workers must be woken, unless calls come in quick succession
};

// Cuts [0, items) into ranges of at most `grain` items and runs them on up to `threads` threads.
// Each thread starts with its own contiguous share and then helps the others. On one thread all
// items are one range. Returns when all have run. May be called from any number of threads at once.
// Never waits for work other than its own, so it completes even if no worker can be started.
// Allocates only when it starts workers. Tasks run in the floating-point mode of floating_point.h.
void parallel_for(std::int64_t items, std::int64_t grain, Threads threads, Task task);

// The same for any callable (begin, end, slot).
template <class Function>
void parallel_for(std::int64_t items, std::int64_t grain, Threads threads, Function&& function) {
  const auto run = [](void* context, std::int64_t begin, std::int64_t end, int slot) {
    (*static_cast<Function*>(context))(begin, end, slot);
  };
  parallel_for(items, grain, threads, Task{run, &function});
}

// Ends and joins the workers; a later parallel_for starts them again.
void join_threads();

}  // namespace rmsnorm::cpu
