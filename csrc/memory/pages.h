// Memory straight from the operating system, whose calls are here alone.
#pragma once

#include <cstdint>

namespace rmsnorm::memory {

// What one huge page holds. Bytes.
static constexpr std::int64_t kHugePageBytes = std::int64_t{2} << 20;

// New memory, on huge pages where there are any and it holds one; null if there is none to be had,
// as on systems other than Linux.
void* map_pages(std::int64_t bytes);
void unmap_pages(void* pages, std::int64_t bytes);

// What these pages of map_pages() hold is of no use any more: until they are written again, the
// system may take them for other things when it runs short.
void discard_pages(void* pages, std::int64_t bytes);

// Asks for huge pages inside of memory that somebody else mapped and nobody has written yet.
void advise_huge_pages(void* memory, std::int64_t bytes);

// Whether this is the thread that the process began with; false where that can not be told.
bool is_main_thread();

}  // namespace rmsnorm::memory
