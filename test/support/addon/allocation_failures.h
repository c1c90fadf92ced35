// Makes allocations of the addon under test fail on request.
//
// This file replaces operator new of the whole process, so it must be preloaded:
//   LD_PRELOAD=build/Release/rmsnorm_test.node node …
// Only allocations that code of rmsnorm.node requests can fail, directly or through libstdc++, on
// any thread. malloc, V8, Node.js and the CUDA driver are not affected.
#pragma once

#include <cstdint>

namespace rmsnorm::test {

// True if the process uses the operator new of this file.
bool is_preloaded();

// Starts counting the addon's allocations from 1. Those from number `first` on fail, `failures` of
// them. Returns false if the process has not loaded the addon.
bool fail_allocations(std::int64_t first, std::int64_t failures);

// Stops failing and counting. Returns the number of allocations counted.
std::int64_t stop_failing_allocations();

}  // namespace rmsnorm::test
