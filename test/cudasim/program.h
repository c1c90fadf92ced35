// The decoded form of a kernel: what the parser leaves for the interpreter. Everything is resolved:
// names to places in a warp's register file, labels to indices of instructions, mnemonics to
// functions. Immediates and special registers (%tid.x …) are registers, too, filled before a block
// starts, so that a function over the lanes of a warp knows one kind of operand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine.h"
#include "numbers.h"

namespace cudasim {

using Mask = u32;  // one bit a lane
inline constexpr int kLanes = 32;
inline constexpr Mask kAllLanes = ~Mask{0};

struct Machine;
struct Warp;
struct Instruction;

// Executes one instruction for the lanes in `active`, never none of them.
using Handler = void (*)(Machine& machine, Warp& warp, const Instruction& instruction, Mask active);

struct Register {
  u32 offset = 0;  // in the register file of a warp: 32 values, or one mask for a predicate
  u32 index = 0;   // among the masks that say which lanes were written
};

enum class Space : u8 { kGlobal, kShared, kLocal, kParam, kGeneric };

// In a generic address the highest byte names the space.
inline constexpr int kSpaceShift = 56;
inline constexpr u64 window(Space space) {
  return space == Space::kGlobal ? 0 : static_cast<u64>(space) << kSpaceShift;
}

enum class Flow : u8 { kNext, kBranch, kExit, kBarrier };

enum class Reduction : u8 { kNone, kCount, kAnd, kOr };  // of predicates, by a barrier

struct Instruction {
  Handler handler = nullptr;
  Flow flow = Flow::kNext;
  Reduction reduction = Reduction::kNone;
  bool guarded = false;
  bool guard_negated = false;
  bool copies = false;          // passes "never written" on instead of faulting: mov
  bool hidden = false;          // made by the decoder, not in the text: not counted
  bool ends_block = false;      // the last of its basic block
  bool atomic = false;          // memory: ordered against the atomics of other blocks
  bool narrow_address = false;  // memory: the address is of 32 bits
  Space space = Space::kGlobal;
  u8 width = 0;  // memory: bytes of one element
  u8 count = 1;  // memory: elements of the vector; mov: parts
  u8 outputs = 0, inputs = 0;
  Register guard;
  Register out[4];
  Register in[6];
  s64 immediate = 0;  // memory: added to the address; lop3: its table
  u32 next = 0;       // the instruction that follows, by index
  u32 target = 0;     // of a branch
  u32 line = 0;       // of the PTX
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
    Register place;
    u8 width;
    u64 bits;
  };
  struct SpecialRegister {
    Register place;
    Special special;
  };

  KernelInfo info;
  std::vector<Instruction> code;
  std::vector<std::string> statements;  // the text of each instruction, for messages
  std::vector<Constant> constants;
  std::vector<SpecialRegister> specials;
  std::size_t register_bytes = 0;  // of a warp
  std::size_t register_count = 0;
  std::size_t local_bytes = 0;               // of a thread
  std::size_t dynamic_shared_begin = 0;      // static shared memory, rounded up to the alignment
  unsigned required_threads[3] = {0, 0, 0};  // .reqntid, else zeros
  // The narrowest access to memory, as a power of two: the races of a kernel are checked in such
  // granules, which makes them exact since every access covers whole ones.
  int global_granule_shift = 4, shared_granule_shift = 2;
};

}  // namespace cudasim
