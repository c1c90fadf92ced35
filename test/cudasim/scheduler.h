// Decides when queued work runs: late, and in an order that is random between streams but correct
// within each. Knows nothing about CUDA's calls, contexts or memory.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace cudasim {

// Nothing runs when it is queued. A thread that waits repeatedly picks a random stream whose next
// item may run, and runs it itself, until the thing it waits for has completed. If nobody waits,
// the scheduler's own thread runs the work after a while. A host function, which may resolve a
// promise, is thus called without a blocked thread.
//
// An engine (a device) runs one item at a time; engines run concurrently. Host functions run only
// in the scheduler's thread: a real driver does not run them in the caller's thread either.
class Scheduler {
 public:
  using Work = std::function<void()>;  // must not throw
  struct Engine;
  struct Stream;
  struct Fence;  // a point in a stream's order that others can wait for
  using EnginePtr = std::shared_ptr<Engine>;
  using StreamPtr = std::shared_ptr<Stream>;
  using FencePtr = std::shared_ptr<Fence>;

  // Unattended work starts after `patience`. Without a value, only a wait or a query starts work.
  Scheduler(std::uint64_t seed, std::optional<std::chrono::microseconds> patience);
  ~Scheduler();  // drops work that is still queued
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // For the end of the process: stops the scheduler's thread and waits for the item that it is
  // running on an engine. Does not wait for a host function, which may wait for the caller.
  void stop();

  EnginePtr add_engine();
  void remove_engine(const EnginePtr& engine);  // no work may be queued on it

  // Every engine has a legacy stream. Its work waits for all earlier work of the engine's blocking
  // streams, and their later work waits for it.
  StreamPtr legacy_stream(const EnginePtr& engine) const;
  StreamPtr add_stream(const EnginePtr& engine, bool blocking);
  void retire_stream(const StreamPtr& stream);  // removes the stream once its work has run

  void run_on_engine(const StreamPtr& stream, Work work);
  void run_on_host(const StreamPtr& stream, Work work);
  FencePtr add_fence(const StreamPtr& stream);
  // Later work of the stream waits for the fence, which may belong to any engine.
  void wait_for(const StreamPtr& stream, const FencePtr& fence);

  // Return when all work that was queued before the call has run.
  void synchronize(const StreamPtr& stream);
  void synchronize(const EnginePtr& engine);
  void synchronize(const FencePtr& fence);

  // Whether all queued work, or the work before the fence, has run. If not, the scheduler's thread
  // runs one item, so that a polling loop ends.
  bool has_finished(const StreamPtr& stream);
  bool has_finished(const FencePtr& fence);

  // Whether the calling thread is running a host function.
  static bool in_host_function();

 private:
  struct Item;
  using Lock = std::unique_lock<std::mutex>;

  void enqueue(const StreamPtr& stream, Item item);
  bool ready(const Stream& stream) const;
  StreamPtr pick();
  void run(Lock& lock, const StreamPtr& stream);
  void complete(const StreamPtr& stream);
  bool advance(Lock& lock, bool own_thread);
  template <class Done>
  void run_until(const Done& done);
  std::optional<std::chrono::steady_clock::time_point> due() const;
  void loop();

  mutable std::mutex mutex_;
  std::condition_variable progress_;     // an item has run or was queued
  std::condition_variable wake_thread_;  // wakes the scheduler's thread
  std::vector<EnginePtr> engines_;
  std::deque<StreamPtr> host_calls_;  // streams whose next item the scheduler's thread must run
  std::mt19937_64 random_;
  const std::optional<std::chrono::microseconds> patience_;
  std::uint64_t queued_ = 0;  // the number of items queued so far
  bool queried_ = false;      // a query wants an item to run before `patience` has passed
  bool idle_ = false;         // the scheduler's thread waits until an item is queued or completes
  bool thread_on_engine_ = false;  // the scheduler's thread runs an item on an engine
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cudasim
