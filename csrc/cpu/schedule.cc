#include "schedule.h"

#include <algorithm>

#include "thread_count.h"

namespace rmsnorm::cpu {
namespace {

// Bytes that a thread takes at a time.
constexpr std::int64_t kPieceBytes = 64 << 10;

}  // namespace

Threads threads_for(std::int64_t bytes, int available) {
  const auto each_moving = [&](std::int64_t share) {
    return static_cast<int>(std::clamp<std::int64_t>(bytes / share, 1, available));
  };
  return {each_moving(kBytesPerThread), each_moving(kBytesPerWokenThread)};
}

Status make_schedule(Shape shape, std::int64_t bytes_per_element, std::int64_t caches,
                     Schedule* schedule) {
  int available = 1;
  RMSNORM_TRY(thread_count(&available));
  const std::int64_t row_bytes = shape.hidden_size * bytes_per_element;
  const std::int64_t bytes = shape.rows * row_bytes;
  schedule->threads = threads_for(bytes, available);
  schedule->stores = bytes > caches ? Stores::kStreaming : Stores::kCached;
  schedule->piece_rows = shape.rows;
  if (schedule->threads.most == 1) return {};
  // A multiple of 16 rows if at least 16 fit, because variants sum up to 16 short rows at once.
  const std::int64_t rows = kPieceBytes / row_bytes;
  schedule->piece_rows = rows >= 16 ? rows / 16 * 16 : std::max<std::int64_t>(rows, 1);
  return {};
}

}  // namespace rmsnorm::cpu
