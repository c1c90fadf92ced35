// How a call is shared out, from the bytes it reads and writes.
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
  std::int64_t piece_rows = 0;  // that a thread takes at a time
};

// Outputs go around the caches when a call moves more than this: less, and they would still be
// there for whoever reads them next. Measured with a last cache of 32 MiB: at 22 MiB, forward
// takes 1.3 times as long around them, backward 0.9 of the time, and at 24 MiB 0.8.
static constexpr std::int64_t kForwardCaches = 24 << 20;
static constexpr std::int64_t kBackwardCaches = 21 << 20;

// bytes_per_element: of all matrices together; `caches`: one of those above. Same errors as
// thread_count.
Status make_schedule(Shape shape, std::int64_t bytes_per_element, std::int64_t caches,
                     Schedule* schedule);

// Below this much memory to move, another thread that looks for work costs more than it gains.
// Measured on two processors (Zen 4): forward of float32 takes 0.75 of the time on two threads at
// 4x4096, 128 KiB, and 0.8 at 40x512, but 1.03 to 1.17 times as long at 20x512, 80 KiB.
inline constexpr std::int64_t kBytesPerThread = 64 << 10;

// The same of a thread that sleeps.
inline constexpr std::int64_t kBytesPerWokenThread = 192 << 10;

// Of `available` threads those that are worth it to move so many bytes.
Threads threads_for(std::int64_t bytes, int available);

}  // namespace rmsnorm::cpu
