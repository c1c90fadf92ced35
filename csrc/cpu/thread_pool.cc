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
#include "thread_count.h"

namespace rmsnorm::cpu {
namespace {

// A worker that has just finished looks for work this long before it sleeps. Waking it would cost 5
// to 50 µs, which is more than a call on a few hundred kilobytes takes. An idle pool sleeps.
constexpr std::chrono::microseconds kLinger{50};

// The caller waits this long, after its own work, for workers that were handed the job to begin. A
// worker that has not begun by then has lost its processor to another thread, and the caller takes
// the job back.
constexpr std::chrono::microseconds kBeginning{5};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Whether `ready` came true within `time`. Reading the clock takes as long as several reads of
// memory, so the clock is read once for several checks.
template <class Ready>
bool linger_until(const Ready& ready, std::chrono::microseconds time = kLinger) {
  constexpr int kChecksPerClock = 8;
  const auto deadline = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < kChecksPerClock; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// Takes a lock that other threads hold for less than a microsecond. It tries for a while first,
// because a thread that sleeps for the lock wakes 5 to 50 µs later.
void lock_soon(std::unique_lock<std::mutex>& lock) {
  constexpr int kAttempts = 200;
  for (int i = 0; i < kAttempts; ++i) {
    if (lock.try_lock()) return;
    pause();
  }
  lock.lock();
}

// A thread's contiguous share of the items, on its own cache line. A thread that raises `next` owns
// the items that `next` has passed. The members are not std::atomic, because that would initialise
// all shares of a Job, most of which are unused.
struct alignas(64) Share {
  std::int64_t next;
  std::int64_t end;
};

// One call of parallel_for, on the stack of its caller. The members that a worker reads before it
// begins are on one cache line.
struct Job {
  Task task;
  std::int64_t grain;
  int slots;
  std::atomic<int> joined{1};   // slots handed out, the caller's first
  std::atomic<int> working{0};  // workers that have the job
  int wanted = 0;  // workers that may still take it from the queue; guarded by the pool's mutex
  Job* next_in_queue = nullptr;  // next job of the queue; guarded by the pool's mutex
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

// Where a worker that looks for work finds its next job. `job` is null while the worker looks for
// one, kAway while it does not look, else the job. The mailbox has its own cache line, so that no
// other thread writes to that line meanwhile.
struct alignas(64) Mailbox {
  static inline Job* const kAway = reinterpret_cast<Job*>(1);
  std::atomic<Job*> job{kAway};
};

// Workers that look for work receive a job through their mailboxes. The other workers sleep, or
// work for another caller. These find the job in a queue, as long as its caller is still at work.
class Pool {
 public:
  // `max_woken`: see Threads.
  void run(Job& job, int max_woken) {
    const int handed_out = hand_out(job);
    int missing = job.slots - 1 - handed_out;
    if (missing > 0 && !is_in_series()) {
      missing = std::clamp(max_woken - 1 - handed_out, 0, missing);
    }
    if (missing > 0) enqueue(job, missing, handed_out + missing);
    job.work(0);
    if (missing > 0) {
      std::unique_lock lock(mutex_, std::defer_lock);
      lock_soon(lock);
      leave_queue(job);
    }
    const auto done = [&] { return job.working.load() == 0; };
    if (linger_until(done, kBeginning)) return;
    take_back(job);
    if (linger_until(done)) return;
    std::unique_lock lock(mutex_);
    sleeping_callers_.fetch_add(1);
    work_done_.wait(lock, done);
    sleeping_callers_.fetch_sub(1);
  }

  void join() {
    std::vector<std::thread> ending;
    {
      const std::lock_guard lock(mutex_);
      ++joins_;
      worker_count_.store(0);
      ending.swap(workers_);
    }
    work_came_.notify_all();
    for (std::thread& worker : ending) worker.join();
    const std::lock_guard lock(mutex_);
    --joins_;
  }

 private:
  // Gives the job to workers that look for one. It keeps to the order of the mailboxes, so that a
  // worker tends to get the same rows in a series of calls. Returns the number of workers that got
  // the job.
  int hand_out(Job& job) {
    int handed_out = 0;
    const int workers = worker_count_.load(std::memory_order_acquire);
    for (int i = 0; i < workers && handed_out < job.slots - 1; ++i) {
      Job* looking = nullptr;
      job.working.fetch_add(1, std::memory_order_relaxed);
      if (mailboxes_[i].job.compare_exchange_strong(looking, &job)) {
        ++handed_out;
      } else {
        job.working.fetch_sub(1, std::memory_order_relaxed);
      }
    }
    return handed_out;
  }

  // Takes the job back from workers that have not begun it. These workers go on looking for a job.
  void take_back(Job& job) {
    const int workers = worker_count_.load(std::memory_order_acquire);
    for (int i = 0; i < workers; ++i) {
      Job* handed = &job;
      if (mailboxes_[i].job.compare_exchange_strong(handed, nullptr)) job.working.fetch_sub(1);
    }
  }

  // Waits for the worker's next job. Null if none came in kLinger, or if a job came into the queue
  // instead.
  Job* look_for_job(Mailbox& mailbox) {
    mailbox.job.store(nullptr);
    linger_until([&] {
      return mailbox.job.load(std::memory_order_acquire) != nullptr ||
             has_queue_.load(std::memory_order_acquire);
    });
    return mailbox.job.exchange(Mailbox::kAway);
  }

  // Whether the last call that lacked a worker was so recent that a worker woken for it would
  // still look for work.
  bool is_in_series() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto last = last_shortage_.exchange(now.count(), std::memory_order_relaxed);
    return now - std::chrono::steady_clock::duration(last) < kLinger;
  }

  // Queues the job for `wanted` workers. Starts threads until there are `workers` of them.
  void enqueue(Job& job, int wanted, int workers) {
    std::unique_lock lock(mutex_, std::defer_lock);
    lock_soon(lock);
    start_workers(workers);
    job.wanted = wanted;
    Job** last = &queue_;
    while (*last != nullptr) last = &(*last)->next_in_queue;
    *last = &job;
    ++queued_jobs_;
    has_queue_.store(true, std::memory_order_release);
    lock.unlock();
    if (wanted == 1) {
      work_came_.notify_one();
    } else {
      work_came_.notify_all();
    }
  }

  // It is no error if fewer workers start than asked for: the caller does their work. No worker
  // starts during a join(), because the workers that it waits for may still use their mailboxes.
  void start_workers(int wanted) {
    if (joins_ > 0) return;
    try {
      while (static_cast<int>(workers_.size()) < wanted) {
        workers_.reserve(workers_.size() + 1);
        workers_.emplace_back([this, &mailbox = mailboxes_[workers_.size()]] { serve(mailbox); });
        worker_count_.store(static_cast<int>(workers_.size()), std::memory_order_release);
      }
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
  }

  void leave_queue(Job& job) {
    for (Job** link = &queue_; *link != nullptr; link = &(*link)->next_in_queue) {
      if (*link == &job) {
        *link = job.next_in_queue;
        break;
      }
    }
    has_queue_.store(queue_ != nullptr, std::memory_order_release);
  }

  void serve(Mailbox& mailbox) {
    std::unique_lock lock(mutex_);
    while (joins_ == 0) {
      if (queue_ != nullptr) {
        Job& job = *queue_;
        job.working.fetch_add(1, std::memory_order_relaxed);
        if (--job.wanted == 0) leave_queue(job);
        lock.unlock();
        help(job);
        lock_soon(lock);
        continue;
      }
      // A worker that wakes after the work is done looks for more work all the same. Otherwise it
      // would be too late for every call of a series.
      const std::uint64_t seen = queued_jobs_;
      lock.unlock();
      while (Job* const job = look_for_job(mailbox)) help(*job);
      lock_soon(lock);
      work_came_.wait(lock, [&] { return queued_jobs_ != seen || joins_ > 0; });
    }
  }

  // The job may no longer exist once `working` is decremented.
  void help(Job& job) {
    {
      const FloatingPointScope mode;
      job.work(job.joined.fetch_add(1, std::memory_order_relaxed));
    }
    if (job.working.fetch_sub(1) != 1 || sleeping_callers_.load() == 0) return;
    // Locking the mutex ensures that the caller either sleeps already or has yet to check whether
    // the job is done.
    std::unique_lock lock(mutex_);
    lock.unlock();
    work_done_.notify_all();
  }

  Mailbox mailboxes_[kMaxThreads];
  std::atomic<int> worker_count_{0};  // changed under the mutex
  std::atomic<int> sleeping_callers_{0};
  std::atomic<std::chrono::steady_clock::rep> last_shortage_{0};
  alignas(64) std::atomic<bool> has_queue_{false};
  alignas(64) std::mutex mutex_;
  std::condition_variable work_came_;
  std::condition_variable work_done_;
  std::vector<std::thread> workers_;
  int joins_ = 0;                  // calls of join() in progress; if any, workers end
  std::uint64_t queued_jobs_ = 0;  // since the start
  Job* queue_ = nullptr;
};

// Never destroyed, because threads may still use it when the process ends.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

void parallel_for(std::int64_t items, std::int64_t grain, Threads threads, Task task) {
  const FloatingPointScope mode;
  // On one thread all items are one range. Cutting them takes integer divisions, which take longer
  // than a short row.
  if (threads.max == 1 || items <= grain) {
    if (items > 0) task.run(task.context, 0, items, 0);
    return;
  }
  const std::int64_t ranges = (items + grain - 1) / grain;
  const int slots = static_cast<int>(std::min<std::int64_t>(ranges, threads.max));
  Job job;
  job.task = task;
  job.grain = grain;
  job.slots = slots;
  for (int i = 0; i < slots; ++i) {
    job.shares[i] = {ranges * i / slots * grain, std::min(ranges * (i + 1) / slots * grain, items)};
  }
  pool().run(job, std::min(threads.max_woken, slots));
}

void join_threads() { pool().join(); }

}  // namespace rmsnorm::cpu
