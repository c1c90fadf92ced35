// Memory that is kept for the next who needs as much. The system maps new memory page by page as it
// is first written, and zeroes each, which takes several times as long as a copy into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rmsnorm::cpu {

// What is in use and what is kept may take together; what is in use may take more. lib/call/room.ts
// lets calls wait that would.
static constexpr std::int64_t kMostWarmBytes = std::int64_t{128} << 20;

struct GiveBack {
  std::int64_t bytes = 0;
  void operator()(char* memory) const noexcept;
};
using WarmMemory = std::unique_ptr<char[], GiveBack>;

// At least `bytes` of memory, of whatever content; null where there is none. From any thread.
WarmMemory take_warm_memory(std::int64_t bytes) noexcept;

// Bytes that are kept and not in use.
std::int64_t kept_bytes() noexcept;

// Frees what is kept.
void free_kept_memory() noexcept;

}  // namespace rmsnorm::cpu
