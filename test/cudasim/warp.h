// A running warp and its machine: the arguments of instruction handlers.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "async_copies.h"
#include "machine.h"
#include "program.h"

namespace cudasim {

struct Allocation;
class SharedMemory;
class GlobalView;
class LocalMemory;
class TrafficCounter;

// Lanes that wait at an instruction until the other lanes reach it.
struct Group {
  u32 pc;
  Mask lanes;
};

struct Warp {
  std::byte* registers = nullptr;
  u32* written = nullptr;  // for each register, the mask of lanes that wrote it
  u32 number = 0;          // in the block
  u32 pc = 0;
  Mask live = 0;                         // lanes that exist and have not exited
  Mask active = 0;                       // lanes at pc
  std::vector<Group> pending;            // the other live lanes, the lowest pc last
  const Instruction* barrier = nullptr;  // the barrier where the warp waits for the other warps
  u64 instructions = 0;
  // One entry for each span between barriers; the last one is the current span. Until the block
  // ends, `instructions` of an entry counts from the start of the warp.
  std::vector<WarpWork> work;
  std::array<AsyncCopies, kLanes> copies;

  template <class T>
  T* lanes(Register reg) {
    return reinterpret_cast<T*>(registers + reg.offset);
  }
  Mask& mask(Register reg) { return *lanes<Mask>(reg); }
};

struct Machine {
  const Kernel& kernel;
  const Launch& launch;
  const DeviceModel& device;
  const ExecutionOptions& options;
  GlobalView& global;
  SharedMemory& shared;
  LocalMemory& local;
  TrafficCounter* traffic;  // null: traffic is not counted
  LaunchReport& report;
  // For each instruction, the allocation that it accessed last.
  std::vector<Allocation*> hints;
  unsigned block[3] = {0, 0, 0};

  // Throws a Fault that names kernel, instruction, block and thread. `lane` < 0: the whole warp.
  [[noreturn]] void fail(const char* kind, const Warp& warp, const Instruction& instruction,
                         int lane, const std::string& what) const;
};

// "0x7f00…"
std::string hex(u64 value);

}  // namespace cudasim
