#include "schedule.h"

#include <algorithm>

#include "thread_count.h"

namespace rmsnorm::cpu {
namespace {

// Bytes that a thread takes at a time.
constexpr std::int64_t kGrainBytes = 64 << 10;

}  // namespace

Threads threads_for(std::int64_t bytes, int available) {
  const auto count_for = [&](std::int64_t bytes_per_thread) {
    return static_cast<int>(std::clamp<std::int64_t>(bytes / bytes_per_thread, 1, available));
  };
  return {count_for(kBytesPerThread), count_for(kBytesPerWokenThread)};
}

Status make_schedule(Shape shape, std::int64_t bytes_per_element, std::int64_t caches,
                     Schedule* schedule) {
  int available = 1;
  RMSNORM_TRY(thread_count(&available));
  const std::int64_t row_bytes = shape.hidden_size * bytes_per_element;
  const std::int64_t bytes = shape.rows * row_bytes;
  schedule->threads = threads_for(bytes, available);
  schedule->stores = bytes > caches ? Stores::kStreaming : Stores::kCached;
  schedule->grain_rows = shape.rows;
  if (schedule->threads.max == 1) return {};
  // A multiple of 16 rows if at least 16 fit, because variants sum up to 16 short rows at once.
  const std::int64_t rows = kGrainBytes / row_bytes;
  schedule->grain_rows = rows >= 16 ? rows / 16 * 16 : std::max<std::int64_t>(rows, 1);
  return {};
}

}  // namespace rmsnorm::cpu
