// The worker threads of the process. Work is split across them and the caller.
#pragma once

#include <cstdint>

namespace rmsnorm::cpu {

// Runs the items [begin, end) on the thread that has `slot`, which is in [0, threads).
struct Task {
  void (*run)(void* context, std::int64_t begin, std::int64_t end, int slot);
  void* context;
};

// How many threads the work is worth, the caller included.
struct Threads {
  constexpr Threads(int count) : most(count), woken(count) {}
  constexpr Threads(int most_threads, int woken_threads)
      : most(most_threads), woken(woken_threads) {}
  int most;
  int woken;  // the limit if workers must be woken, except in a series of calls
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
