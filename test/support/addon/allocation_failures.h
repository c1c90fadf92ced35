// Allocations of the addon under test that fail on request.
//
// The file replaces operator new of the whole process, and must be preloaded for that:
//   LD_PRELOAD=build/Release/rmsnorm_test.node node …
// It fails only what code of rmsnorm.node asks for, itself or through libstdc++, on any thread.
// malloc, V8, Node.js and the CUDA driver have their memory.
#pragma once

#include <cstdint>

namespace rmsnorm::test {

// Whether operator new of the process is the one of this file.
bool is_preloaded();

// From now on counts the addon's allocations from 1, and fails `failures` of them from the first-th
// on. False if the process has not loaded the addon.
bool fail_allocations(std::int64_t first, std::int64_t failures);

// Fails and counts no more. Returns how many there were.
std::int64_t stop_failing_allocations();

}  // namespace rmsnorm::test
