#include "../processors.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <bit>
#include <cstdint>

namespace rmsnorm {

// The mask covers one processor group. It is 0 if the process has threads in several groups.
Processors available_processors() {
  DWORD_PTR own = 0;
  DWORD_PTR of_system = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &own, &of_system) == 0) own = 0;
  const auto all = static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  return limit_processors(all, std::popcount(std::uint64_t{own}), std::nullopt);
}

}  // namespace rmsnorm
