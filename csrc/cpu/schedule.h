// How a call is split across threads and how it stores its outputs. Both follow from the number of
// bytes that it moves.
#pragma once

#include <cstdint>

#include "../op/rms_norm.h"
#include "../op/status.h"
#include "thread_pool.h"
#include "variant.h"

namespace rmsnorm::cpu {

struct Schedule {
  Threads threads = 1;
  Stores stores = Stores::kCached;
  std::int64_t grain_rows = 0;  // rows that a thread takes at a time (parallel_for's grain)
};

// A forward or backward call that moves more bytes than its constant bypasses the caches with
// streaming stores. A smaller call stores normally, so that the next reader finds the outputs in
// the caches. Measured with a last-level cache of 32 MiB, compared with normal stores: streaming
// forward takes 1.3 times as long at 22 MiB; streaming backward takes 0.9 of the time at 22 MiB and
// 0.8 at 24 MiB.
static constexpr std::int64_t kForwardCaches = 24 << 20;
static constexpr std::int64_t kBackwardCaches = 21 << 20;

// bytes_per_element is the sum over all matrices that the call moves. `caches` is one of the
// constants above. Same errors as thread_count.
Status make_schedule(Shape shape, std::int64_t bytes_per_element, std::int64_t caches,
                     Schedule* schedule);

// The minimum number of bytes for each thread to move, if the other threads are awake and look for
// work. With fewer bytes, another thread costs more than it gains. Measured on two processors (Zen
// 4), float32 forward: two threads take 0.75 of the time at 4x4096 (128 KiB) and 0.8 at 40x512, but
// 1.03 to 1.17 times as long at 20x512 (80 KiB).
inline constexpr std::int64_t kBytesPerThread = 64 << 10;

// The same minimum if the other threads sleep and must be woken.
inline constexpr std::int64_t kBytesPerWokenThread = 192 << 10;

// How many of `available` threads are worth using to move `bytes` bytes.
Threads threads_for(std::int64_t bytes, int available);

}  // namespace rmsnorm::cpu
