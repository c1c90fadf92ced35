// How a call is shared out, from the bytes it reads and writes.
#pragma once

#include <cstdint>

#include "../op/rms_norm.h"
#include "../op/status.h"
#include "variant.h"

namespace rmsnorm::cpu {

struct Schedule {
  int threads;
  Stores stores;
  std::int64_t piece_rows;  // that a thread takes at a time
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

// Below this much memory to move, a second thread costs more than it gains.
inline constexpr std::int64_t kBytesPerThread = 192 << 10;

// Of `available` threads those that are worth starting to move so many bytes.
int threads_for(std::int64_t bytes, int available);

}  // namespace rmsnorm::cpu
