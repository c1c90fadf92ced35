// The decoded form of a kernel, which the interpreter runs. All names are resolved: registers to
// offsets in a warp's register file, labels to indices of instructions, mnemonics to functions.
// Immediates and special registers (%tid.x …) are registers too, filled before a block starts, so
// that a handler has only one kind of operand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine.h"
#include "numbers.h"

namespace cudasim {

using Mask = u32;  // one bit per lane
inline constexpr int kLanes = 32;
inline constexpr Mask kAllLanes = ~Mask{0};

struct Machine;
struct Warp;
struct Instruction;

// Executes one instruction for the lanes in `active`, which is never 0.
using Handler = void (*)(Machine& machine, Warp& warp, const Instruction& instruction, Mask active);

struct Register {
  u32 offset = 0;  // bytes, in the warp's register file: 32 values, or one mask for a predicate
  u32 index = 0;   // in Warp::written
};

enum class Space : u8 { kGlobal, kShared, kLocal, kParam, kGeneric };

// The highest byte of a generic address is the space.
inline constexpr int kSpaceShift = 56;
inline constexpr u64 window(Space space) {
  return space == Space::kGlobal ? 0 : static_cast<u64>(space) << kSpaceShift;
}

enum class Flow : u8 { kNext, kBranch, kExit, kBarrier };

enum class Reduction : u8 { kNone, kCount, kAnd, kOr };  // of a predicate, by a barrier

struct Instruction {
  Handler handler = nullptr;
  Flow flow = Flow::kNext;
  Reduction reduction = Reduction::kNone;
  bool guarded = false;
  bool guard_negated = false;
  bool copies = false;          // an unwritten input makes the output unwritten, no fault: mov
  bool hidden = false;          // added by the decoder: not in the text and not counted
  bool ends_block = false;      // the last one of its basic block
  bool atomic = false;          // atom, red, and ld and st with an ordering such as .relaxed
  bool narrow_address = false;  // memory: the address has 32 bits
  Space space = Space::kGlobal;
  u8 width = 0;  // memory: bytes of one element
  u8 count = 1;  // memory: elements of the vector
  u8 outputs = 0, inputs = 0;
  Register guard;
  Register out[4];
  Register in[6];
  s64 immediate = 0;  // memory: added to the address; lop3: its lookup table
  u32 next = 0;       // index of the instruction that follows
  u32 target = 0;     // index of a branch's target
  u32 line = 0;       // in the PTX
};

enum class Special : u8 {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneid,
  kWarpid,
  kNwarpid,
  kSmid,
  kNsmid,
  kGridid,
  kLanemaskEq,
  kLanemaskLe,
  kLanemaskLt,
  kLanemaskGe,
  kLanemaskGt,
  kDynamicSmemSize,
  kTotalSmemSize,
};

struct Kernel {
  struct Constant {
    Register reg;
    u8 width;
    u64 bits;
  };
  struct SpecialRegister {
    Register reg;
    Special special;
  };

  KernelInfo info;
  std::vector<Instruction> code;
  std::vector<std::string> statements;  // for messages: the text of each instruction
  std::vector<Constant> constants;
  std::vector<SpecialRegister> specials;
  std::size_t register_bytes = 0;  // per warp
  std::size_t register_count = 0;
  std::size_t local_bytes = 0;               // per thread
  std::size_t dynamic_shared_begin = 0;      // bytes of static shared memory, aligned
  unsigned required_threads[3] = {0, 0, 0};  // .reqntid, else zeros
  // Log2 of the kernel's narrowest memory access in bytes. Races are checked in granules of this
  // size, and the check is exact, since every access covers whole granules.
  int global_granule_shift = 4, shared_granule_shift = 2;
};

}  // namespace cudasim
