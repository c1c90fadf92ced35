#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "../os/floating_point.h"

namespace rmsnorm::cpu {
namespace {

// A worker that has just finished looks for more work this long before it sleeps: waking it costs
// 5 to 50 µs, which is more than a call on a few hundred kilobytes takes. An idle pool sleeps.
constexpr std::chrono::microseconds kLinger{50};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Whether `ready` came true while lingering.
template <class Ready>
bool linger_until(const Ready& ready) {
  const auto patience = std::chrono::steady_clock::now() + kLinger;
  while (!ready()) {
    if (std::chrono::steady_clock::now() >= patience) return false;
    pause();
  }
  return true;
}

// Takes a lock that is held for less than a microsecond: a thread that sleeps for it instead wakes
// 5 to 50 µs later.
void lock_soon(std::unique_lock<std::mutex>& lock) {
  constexpr int kAttempts = 200;
  for (int i = 0; i < kAttempts; ++i) {
    if (lock.try_lock()) return;
    pause();
  }
  lock.lock();
}

// A thread's contiguous share of the items, on a cache line of its own. Whoever raises `next` owns
// the piece before it. Plain integers, since a Job has many more of these than it needs.
struct alignas(64) Share {
  std::int64_t next;
  std::int64_t end;
};

// One parallel_for: lives on its caller's stack, and is in the queue while threads may join it.
// What a thread reads to join it is on one cache line.
struct Job {
  Task task;
  std::int64_t grain;
  int slots;
  int joined = 1;               // slots given out, the caller's first; under the pool's mutex
  std::atomic<int> working{0};  // workers inside; changed under the pool's mutex
  Job* following = nullptr;     // the queue is a list through the jobs
  Share shares[kMaxThreads];

  void work(int slot) {
    for (int i = 0; i < slots; ++i) {
      Share& share = shares[(slot + i) % slots];
      const std::atomic_ref next(share.next);
      while (next.load(std::memory_order_relaxed) < share.end) {
        const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= share.end) break;
        task.run(task.context, begin, std::min(begin + grain, share.end), slot);
      }
    }
  }
};

class Pool {
 public:
  void run(Job& job) {
    std::unique_lock lock(mutex_, std::defer_lock);
    lock_soon(lock);
    start_workers(job.slots - 1);
    Job** last = &queue_;
    while (*last != nullptr) last = &(*last)->following;
    *last = &job;
    ++calls_;
    queued_.store(true, std::memory_order_release);
    lock.unlock();
    if (job.slots == 2) {
      work_came_.notify_one();
    } else {
      work_came_.notify_all();
    }
    job.work(0);

    lock_soon(lock);
    leave_queue(job);
    lock.unlock();
    const auto done = [&] { return job.working.load() == 0; };
    if (linger_until(done)) return;
    lock.lock();
    work_done_.wait(lock, done);
  }

  void join() {
    std::vector<std::thread> ending;
    {
      const std::lock_guard lock(mutex_);
      ++ending_generation_;
      ending.swap(workers_);
    }
    work_came_.notify_all();
    for (std::thread& worker : ending) worker.join();
  }

 private:
  // Fewer workers than asked for is not an error: the caller does what they do not.
  void start_workers(int wanted) {
    try {
      while (static_cast<int>(workers_.size()) < wanted) {
        workers_.reserve(workers_.size() + 1);
        workers_.emplace_back([this, generation = ending_generation_] { serve(generation); });
      }
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
  }

  void leave_queue(Job& job) {
    for (Job** link = &queue_; *link != nullptr; link = &(*link)->following) {
      if (*link == &job) {
        *link = job.following;
        break;
      }
    }
    queued_.store(queue_ != nullptr, std::memory_order_release);
  }

  void serve(std::uint64_t generation) {
    std::unique_lock lock(mutex_);
    const auto ending = [&] { return ending_generation_ != generation; };
    while (!ending()) {
      if (queue_ == nullptr) {
        // Called for work that was done before this thread was awake, it lingers for the next call:
        // else it would be late for every one of a series.
        const std::uint64_t calls = calls_;
        lock.unlock();
        linger_until([&] { return queued_.load(std::memory_order_acquire); });
        lock_soon(lock);
        work_came_.wait(lock, [&] { return calls_ != calls || ending(); });
        continue;
      }
      Job& job = *queue_;
      const int slot = job.joined++;
      job.working.fetch_add(1);
      if (job.joined == job.slots) leave_queue(job);
      lock.unlock();
      {
        const FloatingPointScope mode;
        job.work(slot);
      }
      lock_soon(lock);
      if (job.working.fetch_sub(1) == 1) work_done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_came_;
  std::condition_variable work_done_;
  std::vector<std::thread> workers_;
  std::uint64_t ending_generation_ = 0;  // workers of an earlier one leave
  std::uint64_t calls_ = 0;              // jobs ever queued
  Job* queue_ = nullptr;
  std::atomic<bool> queued_{false};
};

// Never destroyed: threads of an ending process may still be inside.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

void parallel_for(std::int64_t items, std::int64_t grain, int threads, Task task) {
  const FloatingPointScope mode;
  // On one thread nothing is divided, which takes long.
  if (threads == 1 || items <= grain) {
    if (items > 0) task.run(task.context, 0, items, 0);
    return;
  }
  const std::int64_t pieces = (items + grain - 1) / grain;
  const int slots = static_cast<int>(std::min<std::int64_t>(pieces, threads));
  Job job;
  job.task = task;
  job.grain = grain;
  job.slots = slots;
  for (int i = 0; i < slots; ++i) {
    job.shares[i] = {pieces * i / slots * grain, std::min(pieces * (i + 1) / slots * grain, items)};
  }
  pool().run(job);
}

void join_threads() { pool().join(); }

}  // namespace rmsnorm::cpu
