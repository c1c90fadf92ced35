// The addresses of a memory instruction, checked and found in the host's memory.
#pragma once

#include "memory.h"
#include "warp.h"

namespace cudasim {

struct Addresses {
  u64 device[kLanes];       // in its space
  std::byte* host[kLanes];  // of active lanes, after resolve()
  bool contiguous = false;  // all lanes, ascending, each next to the one before
};

[[noreturn]] void report(const Machine& machine, const Warp& warp, const Instruction& i, int lane,
                         Space space, u64 address, std::size_t bytes, Trouble trouble);

// Lanes of one space, whose addresses are there. Global memory is checked in runs of consecutive
// addresses.
void resolve_space(Machine& machine, Warp& warp, const Instruction& i, Mask active, Space space,
                   std::size_t bytes, Access access, Addresses& addresses);

// Of all lanes, by the instruction's operands; counts the traffic.
void resolve(Machine& machine, Warp& warp, const Instruction& i, Mask active, Access access,
             Addresses& addresses);

// What a warp did, by kinds of access.
void count_work(WarpWork& work, Space space, std::size_t bytes, Access access);

}  // namespace cudasim
