// Checks the addresses of a memory instruction and translates them to host addresses.
#pragma once

#include "memory.h"
#include "warp.h"

namespace cudasim {

struct Addresses {
  u64 device[kLanes];       // relative to the address space
  std::byte* host[kLanes];  // set for active lanes by resolve(); only host[0] if contiguous
  bool contiguous = false;  // all lanes are active and access consecutive addresses
};

[[noreturn]] void report(const Machine& machine, const Warp& warp, const Instruction& i, int lane,
                         Space space, u64 address, std::size_t bytes, Trouble trouble);

// For lanes that access one space: takes addresses.device, checks it and sets addresses.host.
// Global memory is checked in runs of consecutive addresses.
void resolve_space(Machine& machine, Warp& warp, const Instruction& i, Mask active, Space space,
                   std::size_t bytes, Access access, Addresses& addresses);

// Resolves the addresses that the instruction's operands give, and counts the traffic.
void resolve(Machine& machine, Warp& warp, const Instruction& i, Mask active, Access access,
             Addresses& addresses);

// Adds an access of `bytes` per lane to the warp's work.
void count_work(WarpWork& work, Space space, std::size_t bytes, Access access);

}  // namespace cudasim
