#include "scheduler.h"

#include <algorithm>
#include <utility>

namespace cudasim {

using Clock = std::chrono::steady_clock;

struct Scheduler::Fence {
  bool reached = false;
};

struct Scheduler::Item {
  enum class Executor { kEngine, kHostThread, kNone };
  Executor executor = Executor::kNone;
  Work work;
  FencePtr sets;
  FencePtr awaits;
  std::uint64_t number = 0;  // in the order of queueing, over all streams
  Clock::time_point queued_at{};
};

struct Scheduler::Stream {
  Stream(EnginePtr engine, bool blocking) : engine(std::move(engine)), blocking(blocking) {}
  const EnginePtr engine;
  const bool blocking;
  bool running = false;  // its first item runs; the item stays in the queue until it completes
  bool retired = false;
  std::deque<Item> items;

  bool has_earlier_than(std::uint64_t number) const {
    return !items.empty() && items.front().number < number;
  }
};

struct Scheduler::Engine {
  bool busy = false;
  bool removed = false;
  std::vector<StreamPtr> streams;  // the legacy stream first

  bool has_earlier_than(std::uint64_t number) const {
    return std::any_of(streams.begin(), streams.end(),
                       [&](const StreamPtr& stream) { return stream->has_earlier_than(number); });
  }
};

namespace {
thread_local bool calling_host_function = false;
}

bool Scheduler::in_host_function() { return calling_host_function; }

Scheduler::Scheduler(std::uint64_t seed, std::optional<std::chrono::microseconds> patience)
    : random_(seed), patience_(patience), thread_([this] { loop(); }) {}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_thread_.notify_all();
  thread_.join();
  for (const EnginePtr& engine : engines_) {
    // Break cycles: work keeps objects alive that may keep its stream alive, and thus its engine.
    for (const StreamPtr& stream : engine->streams) stream->items.clear();
    engine->streams.clear();
  }
}

void Scheduler::stop() {
  Lock lock(mutex_);
  stopping_ = true;
  wake_thread_.notify_all();
  progress_.wait(lock, [&] { return !thread_on_engine_; });
}

Scheduler::EnginePtr Scheduler::add_engine() {
  auto engine = std::make_shared<Engine>();
  engine->streams.push_back(std::make_shared<Stream>(engine, true));
  const std::lock_guard lock(mutex_);
  engines_.push_back(engine);
  return engine;
}

void Scheduler::remove_engine(const EnginePtr& engine) {
  const std::lock_guard lock(mutex_);
  std::erase(engines_, engine);
  engine->removed = true;
  engine->streams.clear();  // streams keep their engine alive
}

Scheduler::StreamPtr Scheduler::legacy_stream(const EnginePtr& engine) const {
  const std::lock_guard lock(mutex_);
  return engine->streams.front();
}

Scheduler::StreamPtr Scheduler::add_stream(const EnginePtr& engine, bool blocking) {
  auto stream = std::make_shared<Stream>(engine, blocking);
  const std::lock_guard lock(mutex_);
  engine->streams.push_back(stream);
  return stream;
}

void Scheduler::retire_stream(const StreamPtr& stream) {
  const std::lock_guard lock(mutex_);
  stream->retired = true;
  if (stream->items.empty()) std::erase(stream->engine->streams, stream);
}

void Scheduler::enqueue(const StreamPtr& stream, Item item) {
  item.queued_at = Clock::now();
  const std::lock_guard lock(mutex_);
  if (stream->engine->removed) {
    if (item.sets != nullptr) item.sets->reached = true;
    return;
  }
  item.number = ++queued_;
  stream->items.push_back(std::move(item));
  if (idle_) wake_thread_.notify_one();
  progress_.notify_all();
}

void Scheduler::run_on_engine(const StreamPtr& stream, Work work) {
  Item item;
  item.executor = Item::Executor::kEngine;
  item.work = std::move(work);
  enqueue(stream, std::move(item));
}

void Scheduler::run_on_host(const StreamPtr& stream, Work work) {
  Item item;
  item.executor = Item::Executor::kHostThread;
  item.work = std::move(work);
  enqueue(stream, std::move(item));
}

Scheduler::FencePtr Scheduler::add_fence(const StreamPtr& stream) {
  Item item;
  item.sets = std::make_shared<Fence>();
  FencePtr fence = item.sets;
  enqueue(stream, std::move(item));
  return fence;
}

void Scheduler::wait_for(const StreamPtr& stream, const FencePtr& fence) {
  Item item;
  item.awaits = fence;
  enqueue(stream, std::move(item));
}

bool Scheduler::ready(const Stream& stream) const {
  if (stream.items.empty() || stream.running) return false;
  const Item& item = stream.items.front();
  if (item.executor == Item::Executor::kEngine && stream.engine->busy) return false;
  if (item.awaits != nullptr && !item.awaits->reached) return false;
  if (!stream.blocking) return true;
  const std::vector<StreamPtr>& streams = stream.engine->streams;
  if (&stream != streams.front().get()) return !streams.front()->has_earlier_than(item.number);
  return std::none_of(streams.begin() + 1, streams.end(), [&](const StreamPtr& other) {
    return other->blocking && other->has_earlier_than(item.number);
  });
}

Scheduler::StreamPtr Scheduler::pick() {
  std::vector<StreamPtr> candidates;
  for (const EnginePtr& engine : engines_) {
    for (const StreamPtr& stream : engine->streams) {
      if (ready(*stream)) candidates.push_back(stream);
    }
  }
  if (candidates.empty()) return nullptr;
  return candidates[random_() % candidates.size()];
}

void Scheduler::complete(const StreamPtr& stream) {
  // Release the objects that the work keeps alive before any thread learns that it has run.
  stream->items.front().work = nullptr;
  if (const FencePtr& fence = stream->items.front().sets) fence->reached = true;
  stream->items.pop_front();
  stream->running = false;
  if (stream->retired && stream->items.empty()) std::erase(stream->engine->streams, stream);
  progress_.notify_all();
  if (idle_) wake_thread_.notify_one();
}

void Scheduler::run(Lock& lock, const StreamPtr& stream) {
  Item& item = stream->items.front();  // push_back on a deque does not move its elements
  const bool on_engine = item.executor == Item::Executor::kEngine;
  stream->running = true;
  if (on_engine) stream->engine->busy = true;
  const bool own = on_engine && std::this_thread::get_id() == thread_.get_id();
  if (own) thread_on_engine_ = true;
  if (item.work) {
    lock.unlock();
    calling_host_function = item.executor == Item::Executor::kHostThread;
    item.work();
    calling_host_function = false;
    lock.lock();
  }
  if (on_engine) stream->engine->busy = false;
  if (own) thread_on_engine_ = false;
  complete(stream);
}

// Runs one item, or passes it to the scheduler's thread. Returns false if no item may run now.
bool Scheduler::advance(Lock& lock, bool own_thread) {
  const StreamPtr stream = pick();
  if (stream == nullptr) return false;
  if (stream->items.front().executor == Item::Executor::kHostThread && !own_thread) {
    stream->running = true;
    host_calls_.push_back(stream);
    wake_thread_.notify_one();
  } else {
    run(lock, stream);
  }
  return true;
}

template <class Done>
void Scheduler::run_until(const Done& done) {
  Lock lock(mutex_);
  const std::uint64_t last = queued_;
  while (!done(last)) {
    if (!advance(lock, false)) progress_.wait(lock);
  }
}

void Scheduler::synchronize(const StreamPtr& stream) {
  run_until([&](std::uint64_t last) { return !stream->has_earlier_than(last + 1); });
}

void Scheduler::synchronize(const EnginePtr& engine) {
  run_until([&](std::uint64_t last) { return !engine->has_earlier_than(last + 1); });
}

void Scheduler::synchronize(const FencePtr& fence) {
  run_until([&](std::uint64_t) { return fence->reached; });
}

bool Scheduler::has_finished(const StreamPtr& stream) {
  const std::lock_guard lock(mutex_);
  if (stream->items.empty()) return true;
  queried_ = true;
  wake_thread_.notify_one();
  return false;
}

bool Scheduler::has_finished(const FencePtr& fence) {
  const std::lock_guard lock(mutex_);
  if (fence->reached) return true;
  queried_ = true;
  wake_thread_.notify_one();
  return false;
}

// When the scheduler's thread should start the oldest unattended work; no value: never.
std::optional<Clock::time_point> Scheduler::due() const {
  if (!patience_) return std::nullopt;
  std::optional<Clock::time_point> oldest;
  for (const EnginePtr& engine : engines_) {
    for (const StreamPtr& stream : engine->streams) {
      if (stream->items.empty() || stream->running) continue;
      const Clock::time_point queued_at = stream->items.front().queued_at;
      if (!oldest || queued_at < *oldest) oldest = queued_at;
    }
  }
  if (oldest) *oldest += *patience_;
  return oldest;
}

void Scheduler::loop() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (!host_calls_.empty()) {
      const StreamPtr stream = host_calls_.front();
      host_calls_.pop_front();
      run(lock, stream);
      continue;
    }
    const std::optional<Clock::time_point> start = due();
    const bool in_time = start && Clock::now() >= *start;
    if ((in_time || queried_) && advance(lock, true)) {
      queried_ = false;
      continue;
    }
    idle_ = !start || in_time || queried_;
    if (start && !in_time) {
      wake_thread_.wait_until(lock, *start);
    } else {
      wake_thread_.wait(lock);
    }
    idle_ = false;
  }
}

}  // namespace cudasim
