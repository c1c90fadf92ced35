// When queued work runs: late, in an order that is random among the streams and right within each.
// Knows nothing of CUDA's calls, contexts or memory.
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

// Nothing runs when it is queued. Whoever waits picks, again and again, one of the streams whose
// next piece of work may run, and runs it in its own thread, until what it waits for has come.
// Work that nobody waits for is run by a thread of the scheduler's after a while, so that a host
// function, which may resolve a promise, is called without anybody blocking.
//
// Work on one engine (a device) runs one piece at a time; engines run beside each other. Host
// functions run in the scheduler's thread only: on a GPU, too, they never run in the caller's.
class Scheduler {
 public:
  using Work = std::function<void()>;  // must not throw
  struct Engine;
  struct Stream;
  struct Mark;  // a point in a stream's order, for others to wait for
  using EnginePtr = std::shared_ptr<Engine>;
  using StreamPtr = std::shared_ptr<Stream>;
  using MarkPtr = std::shared_ptr<Mark>;

  // Without `patience` the scheduler's thread starts nothing of its own accord.
  Scheduler(std::uint64_t seed, std::optional<std::chrono::microseconds> patience);
  ~Scheduler();  // drops what is still queued
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // At the process's end: waits for the piece that the scheduler's thread is running on an engine,
  // and no more are run by it. It does not wait for a host function, which may wait for the caller.
  void stop();

  EnginePtr add_engine();
  void remove_engine(const EnginePtr& engine);  // nothing may be queued on it

  // Every engine has a legacy stream. Its work waits for all work queued earlier on the engine's
  // blocking streams, and their later work waits for it.
  StreamPtr legacy_stream(const EnginePtr& engine) const;
  StreamPtr add_stream(const EnginePtr& engine, bool blocking);
  void retire_stream(const StreamPtr& stream);  // it runs what it has, and is forgotten

  void run_on_engine(const StreamPtr& stream, Work work);
  void run_on_host(const StreamPtr& stream, Work work);
  MarkPtr mark(const StreamPtr& stream);
  void wait_for(const StreamPtr& stream, const MarkPtr& mark);  // of any stream of any engine

  // Return when what was queued before the call has run.
  void finish(const StreamPtr& stream);
  void finish(const EnginePtr& engine);
  void finish(const MarkPtr& mark);

  // Whether it has run. If not, the scheduler's thread runs one piece of work, so that asking
  // again and again comes to an end.
  bool has_finished(const StreamPtr& stream);
  bool has_finished(const MarkPtr& mark);

  // Whether this thread is in a host function.
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
  std::condition_variable progress_;  // something has run, or is queued
  std::condition_variable own_;       // for the scheduler's thread
  std::vector<EnginePtr> engines_;
  std::deque<StreamPtr> host_calls_;  // streams whose next piece is for the scheduler's thread
  std::mt19937_64 random_;
  const std::optional<std::chrono::microseconds> patience_;
  std::uint64_t queued_ = 0;    // ever; numbers the pieces of work
  bool asked_ = false;          // somebody wants a piece run although its time has not come
  bool idle_ = false;           // the thread waits for something to be queued or to complete
  bool own_on_engine_ = false;  // the thread runs a piece on an engine
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cudasim
