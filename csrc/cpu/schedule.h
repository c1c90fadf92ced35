// How a call is shared out, from the bytes it reads and writes.
#pragma once

#include <cstdint>

#include "../rms_norm.h"
#include "../status.h"
#include "variant.h"

namespace rmsnorm::cpu {

struct Schedule {
  int threads;
  Stores stores;
  std::int64_t piece_rows;  // that a thread takes at a time
};

// bytes_per_element: of all matrices together. Same errors as thread_count.
Status make_schedule(Shape shape, std::int64_t bytes_per_element, Schedule* schedule);

// Of `available` threads those that are worth starting to move so many bytes.
int threads_for(std::int64_t bytes, int available);

}  // namespace rmsnorm::cpu
