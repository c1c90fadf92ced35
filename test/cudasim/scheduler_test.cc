#include "scheduler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace cudasim {
namespace {

// Records the order in which work runs.
class Log {
 public:
  Scheduler::Work entry(const std::string& text) {
    return [this, text] {
      const std::lock_guard lock(mutex_);
      text_ += text;
    };
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

bool in_order(const std::string& text, const std::string& order) {
  std::size_t at = 0;
  for (const char c : order) {
    at = text.find(c, at);
    if (at == std::string::npos) return false;
  }
  return true;
}

TEST_CASE("work runs when somebody waits for it, and not before") {
  Log log;
  Scheduler scheduler(1, std::nullopt);
  const auto engine = scheduler.add_engine();
  const auto stream = scheduler.add_stream(engine, false);
  scheduler.run_on_engine(stream, log.entry("a"));
  scheduler.run_on_engine(stream, log.entry("b"));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(log.text().empty());
  SUBCASE("a wait for the stream runs it") { scheduler.synchronize(stream); }
  SUBCASE("a wait for the engine runs it") { scheduler.synchronize(engine); }
  SUBCASE("a wait for a fence runs it") { scheduler.synchronize(scheduler.add_fence(stream)); }
  CHECK(log.text() == "ab");
}

TEST_CASE("the order of work on two streams depends only on the seed") {
  const auto order = [](std::uint64_t seed) {
    Log log;
    Scheduler scheduler(seed, std::nullopt);
    const auto engine = scheduler.add_engine();
    const auto one = scheduler.add_stream(engine, true);
    const auto other = scheduler.add_stream(engine, false);
    for (const char* text : {"a", "b", "c"}) scheduler.run_on_engine(one, log.entry(text));
    for (const char* text : {"x", "y", "z"}) scheduler.run_on_engine(other, log.entry(text));
    scheduler.synchronize(engine);
    CHECK(in_order(log.text(), "abc"));
    CHECK(in_order(log.text(), "xyz"));
    return log.text();
  };
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    seen.insert(order(seed));
    CHECK(order(seed) == order(seed));
  }
  CHECK(seen.size() == 20);  // all possible orders: 6 choose 3
}

TEST_CASE("the legacy stream is ordered with blocking streams") {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Log log;
    Scheduler scheduler(seed, std::nullopt);
    const auto engine = scheduler.add_engine();
    const auto one = scheduler.add_stream(engine, true);
    const auto other = scheduler.add_stream(engine, true);
    const auto apart = scheduler.add_stream(engine, false);
    scheduler.run_on_engine(one, log.entry("a"));
    scheduler.run_on_engine(scheduler.legacy_stream(engine), log.entry("L"));
    scheduler.run_on_engine(other, log.entry("b"));
    scheduler.run_on_engine(apart, log.entry("x"));
    scheduler.synchronize(other);
    CHECK(in_order(log.text(), "aLb"));
    scheduler.synchronize(engine);
    seen.insert(log.text());
  }
  CHECK(seen.size() == 4);  // x may run at any point
}

TEST_CASE("a stream waits for a fence of another engine") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Log log;
    Scheduler scheduler(seed, std::nullopt);
    const auto first = scheduler.add_stream(scheduler.add_engine(), false);
    const auto second = scheduler.add_stream(scheduler.add_engine(), false);
    scheduler.run_on_engine(first, log.entry("a"));
    scheduler.wait_for(second, scheduler.add_fence(first));
    scheduler.run_on_engine(first, log.entry("later"));
    scheduler.run_on_engine(second, log.entry("b"));
    scheduler.synchronize(second);
    CHECK(in_order(log.text(), "ab"));
    scheduler.synchronize(first);
  }
}

TEST_CASE("host functions run in the scheduler's thread, in stream order") {
  Log log;
  Scheduler scheduler(1, std::nullopt);
  const auto stream = scheduler.add_stream(scheduler.add_engine(), false);
  std::thread::id thread;
  bool knows = false;
  scheduler.run_on_engine(stream, log.entry("a"));
  scheduler.run_on_host(stream, [&] {
    thread = std::this_thread::get_id();
    knows = Scheduler::in_host_function();
    log.entry("h")();
  });
  scheduler.run_on_engine(stream, log.entry("b"));
  scheduler.synchronize(stream);
  CHECK(log.text() == "ahb");
  CHECK(thread != std::this_thread::get_id());
  CHECK(knows);
  CHECK_FALSE(Scheduler::in_host_function());
}

TEST_CASE("work that nobody waits for runs after a while") {
  std::atomic<bool> done{false};
  Scheduler scheduler(1, std::chrono::microseconds(200));
  const auto stream = scheduler.add_stream(scheduler.add_engine(), false);
  scheduler.run_on_engine(stream, [] {});
  scheduler.run_on_host(stream, [&] { done = true; });
  while (!done) std::this_thread::yield();
}

TEST_CASE("polling with has_finished makes work run") {
  Log log;
  Scheduler scheduler(1, std::nullopt);
  const auto stream = scheduler.add_stream(scheduler.add_engine(), false);
  CHECK(scheduler.has_finished(stream));
  scheduler.run_on_engine(stream, log.entry("a"));
  const auto fence = scheduler.add_fence(stream);
  scheduler.run_on_host(stream, log.entry("b"));
  CHECK_FALSE(scheduler.has_finished(fence));
  while (!scheduler.has_finished(fence)) std::this_thread::yield();
  while (!scheduler.has_finished(stream)) std::this_thread::yield();
  CHECK(log.text() == "ab");
}

TEST_CASE("the work of a retired stream still runs") {
  Log log;
  Scheduler scheduler(1, std::nullopt);
  const auto engine = scheduler.add_engine();
  const auto stream = scheduler.add_stream(engine, true);
  scheduler.run_on_engine(stream, log.entry("a"));
  scheduler.retire_stream(stream);
  scheduler.run_on_engine(scheduler.legacy_stream(engine), log.entry("L"));
  scheduler.synchronize(engine);
  CHECK(log.text() == "aL");
}

TEST_CASE("work releases its objects before its completion is visible") {
  Scheduler scheduler(1, std::nullopt);
  const auto stream = scheduler.add_stream(scheduler.add_engine(), false);
  const auto held = std::make_shared<int>(1);
  scheduler.run_on_engine(stream, [held] {});
  CHECK(held.use_count() == 2);
  scheduler.synchronize(stream);
  CHECK(held.use_count() == 1);
}

TEST_CASE("after stop() the scheduler's thread starts nothing") {
  std::atomic<bool> running{false};
  std::atomic<int> finished{0};
  Scheduler scheduler(1, std::chrono::microseconds(0));
  const auto stream = scheduler.add_stream(scheduler.add_engine(), false);
  scheduler.run_on_engine(stream, [&] {
    running = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ++finished;
  });
  while (!running) std::this_thread::yield();
  scheduler.run_on_engine(stream, [&] { ++finished; });
  scheduler.stop();
  CHECK(finished == 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  CHECK(finished == 1);
}

TEST_CASE("many threads can queue and wait at once") {
  for (const auto patience :
       {std::optional<std::chrono::microseconds>(), {std::chrono::microseconds(0)}}) {
    Scheduler scheduler(1, patience);
    const auto engine = scheduler.add_engine();
    int on_engine = 0;  // not atomic: an engine runs one item at a time
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const auto stream = scheduler.add_stream(engine, t % 2 == 0);
        for (int i = 0; i < 200; ++i) {
          scheduler.run_on_engine(stream, [&] { ++on_engine; });
          scheduler.run_on_host(stream, [] {});
          const auto fence = scheduler.add_fence(stream);
          scheduler.wait_for(scheduler.legacy_stream(engine), fence);
          if (i % 7 == 0) scheduler.synchronize(stream);
          if (i % 11 == 0) scheduler.synchronize(fence);
          if (i % 13 == 0) scheduler.has_finished(stream);
        }
        scheduler.synchronize(stream);
        scheduler.retire_stream(stream);
      });
    }
    for (std::thread& thread : threads) thread.join();
    scheduler.synchronize(engine);
    CHECK(on_engine == 800);
  }
}

}  // namespace
}  // namespace cudasim
