#include "cpu/thread_pool.h"
#include "cpu/thread_count.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace rmsnorm::cpu {
namespace {

// A parallel_for that checks itself. It counts errors, because tasks cannot use doctest's checks.
class Watched {
 public:
  Watched(std::int64_t items, std::int64_t grain, int threads)
      : items_(items),
        grain_(grain),
        threads_(threads),
        times_(static_cast<std::size_t>(items)),
        busy_(static_cast<std::size_t>(threads)) {}

  // True if each item ran once, in ranges and slots as promised. `work` runs in every range.
  template <class Work>
  bool run(const Work& work) {
    const bool alone = std::min<std::int64_t>((items_ + grain_ - 1) / grain_, threads_) <= 1;
    parallel_for(items_, grain_, threads_, [&](std::int64_t begin, std::int64_t end, int slot) {
      const bool possible = 0 <= begin && begin < end && end <= items_ &&
                            (alone || end - begin <= grain_) && 0 <= slot && slot < threads_;
      if (!possible) {
        ++wrong_;
        return;
      }
      std::atomic<bool>& busy = busy_[static_cast<std::size_t>(slot)];
      if (busy.exchange(true)) ++wrong_;
      for (std::int64_t i = begin; i < end; ++i) ++times_[static_cast<std::size_t>(i)];
      work();
      busy.store(false);
    });
    const bool once = std::all_of(times_.begin(), times_.end(), [](int n) { return n == 1; });
    return once && wrong_.load() == 0;
  }
  bool run() {
    return run([] {});
  }

 private:
  std::int64_t items_;
  std::int64_t grain_;
  int threads_;
  std::vector<int> times_;  // not atomic, so that ThreadSanitizer detects a shared item
  std::vector<std::atomic<bool>> busy_;
  std::atomic<int> wrong_{0};
};

TEST_CASE("parallel_for runs each item once") {
  for (const std::int64_t items : {0, 1, 2, 3, 7, 64, 1000, 4097}) {
    for (const std::int64_t grain : {1, 3, 8, 5000}) {
      for (const int threads : {1, 2, 3, 7, 32}) {
        CAPTURE(items);
        CAPTURE(grain);
        CAPTURE(threads);
        CHECK(Watched(items, grain, threads).run());
      }
    }
  }
}

TEST_CASE("parallel_for runs on kMaxThreads threads") {
  CHECK(Watched(10000, 1, kMaxThreads).run());
  join_threads();
}

TEST_CASE("parallel_for uses more than one thread if there is work for them") {
  // No task ends before two have started, so scheduling cannot make this test fail.
  std::atomic<int> inside{0};
  const auto wait_for_another = [&] {
    ++inside;
    while (inside.load() < 2) std::this_thread::yield();
  };
  CHECK(Watched(2, 1, 2).run(wait_for_another));
}

// How many threads a call of two ranges ran on. Each range waits for the other to begin, for at
// most `wait`.
int threads_of_call(Threads threads, std::chrono::microseconds wait) {
  std::atomic<int> inside{0};
  std::atomic<int> workers{0};
  parallel_for(2, 1, threads, [&](std::int64_t, std::int64_t, int slot) {
    ++inside;
    if (slot != 0) ++workers;
    const auto patience = std::chrono::steady_clock::now() + wait;
    while (inside.load() < 2 && std::chrono::steady_clock::now() < patience) {
    }
  });
  return workers.load() == 0 ? 1 : 2;
}

TEST_CASE("parallel_for wakes a worker for small work only in a series of calls") {
  CHECK(Watched(2, 1, 2).run());
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until the worker sleeps
    CHECK(threads_of_call({2, 1}, std::chrono::milliseconds(5)) == 1);
  }
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  int threads = 1;
  while (threads == 1 && std::chrono::steady_clock::now() < patience) {
    threads = threads_of_call({2, 1}, std::chrono::microseconds(30));
  }
  CHECK(threads == 2);
}

TEST_CASE("parallel_for works from several threads at once") {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 50; ++i) {
        if (!Watched(1 + 37 * i, 1 + i % 5, 2 + caller).run()) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong.load() == 0);
}

TEST_CASE("parallel_for works inside a parallel_for") {
  std::atomic<int> wrong{0};
  CHECK(Watched(16, 1, 4).run([&] {
    if (!Watched(100, 3, 4).run()) ++wrong;
  }));
  CHECK(wrong.load() == 0);
}

TEST_CASE("parallel_for works after join_threads") {
  join_threads();
  for (int i = 0; i < 5; ++i) {
    CHECK(Watched(1000, 1, 3).run());
    join_threads();
    join_threads();
  }
}

// A Node environment that ends joins threads that others may still be using.
TEST_CASE("join_threads is safe while other threads work") {
  std::atomic<int> wrong{0};
  std::atomic<bool> finished{false};
  std::thread joiner([&] {
    while (!finished.load()) join_threads();
  });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        if (!Watched(200, 1, 3).run()) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  finished.store(true);
  joiner.join();
  CHECK(wrong.load() == 0);
}

}  // namespace
}  // namespace rmsnorm::cpu
