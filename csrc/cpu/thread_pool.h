// The process's worker threads: rows are shared out to them, and the caller works too.
#pragma once

#include <cstdint>

namespace rmsnorm::cpu {

// Runs pieces of [begin, end) on a thread known by `slot` in [0, threads).
struct Task {
  void (*run)(void* context, std::int64_t begin, std::int64_t end, int slot);
  void* context;
};

// How many threads work is worth, the caller's included.
struct Threads {
  constexpr Threads(int count) : most(count), woken(count) {}
  constexpr Threads(int most_threads, int woken_threads)
      : most(most_threads), woken(woken_threads) {}
  int most;
  int woken;  // where workers sleep: so many of them at most are woken, but all in a series of
              // calls
};

// Cuts [0, items) into pieces of at most `grain` and runs them on up to `threads`, each
// starting with its own contiguous share and then helping the others; on one thread it is one
// piece. Returns when all have run. Callable from any number of threads at once; never waits for
// work other than its own, so it completes even if no worker can be started. Allocates only when it
// starts workers. Every task runs in the floating-point mode of floating_point.h.
void parallel_for(std::int64_t items, std::int64_t grain, Threads threads, Task task);

// The same for any function (begin, end, slot).
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
