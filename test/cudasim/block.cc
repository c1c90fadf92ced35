#include "block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "local_memory.h"
#include "shared_memory.h"

namespace cudasim {
namespace {

constexpr std::size_t kCacheLine = 64;

// Adds lanes that will continue at pc, and merges them with lanes that already wait there.
void wait_at(Warp& warp, u32 pc, Mask lanes) {
  auto group = std::find_if(warp.pending.begin(), warp.pending.end(),
                            [&](const Group& other) { return other.pc <= pc; });
  if (group != warp.pending.end() && group->pc == pc) {
    group->lanes |= lanes;
  } else {
    warp.pending.insert(group, {pc, lanes});
  }
}

// Activates the lanes with the lowest pc, among the active and the pending ones.
void choose(Warp& warp) {
  if (warp.pending.empty() || (warp.active != 0 && warp.pc < warp.pending.back().pc)) return;
  if (warp.active != 0) wait_at(warp, warp.pc, warp.active);
  warp.pc = warp.pending.back().pc;
  warp.active = warp.pending.back().lanes;
  warp.pending.pop_back();
}

}  // namespace

Block::Block(Machine& machine)
    : machine_(machine),
      threads_(std::size_t{machine.launch.block[0]} * machine.launch.block[1] *
               machine.launch.block[2]),
      register_stride_((machine.kernel.register_bytes + kCacheLine - 1) / kCacheLine * kCacheLine) {
  const std::size_t warps = (threads_ + kLanes - 1) / kLanes;
  registers_.resize(warps * register_stride_ + kCacheLine);
  written_.resize(warps * machine.kernel.register_count);
  warps_.resize(warps);
  order_.resize(warps);
  std::iota(order_.begin(), order_.end(), 0u);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(registers_.data()) % kCacheLine;
  std::byte* base = registers_.data() + (kCacheLine - misaligned) % kCacheLine;
  for (std::size_t w = 0; w < warps; ++w) {
    Warp& warp = warps_[w];
    warp.number = static_cast<u32>(w);
    warp.registers = base + w * register_stride_;
    warp.written = written_.data() + w * machine.kernel.register_count;
    for (const Kernel::Constant& constant : machine.kernel.constants) {
      std::byte* lanes = warp.registers + constant.reg.offset;
      if (constant.width == 0) std::memcpy(lanes, &constant.bits, sizeof(Mask));
      for (std::size_t lane = 0; constant.width != 0 && lane < kLanes; ++lane) {
        std::memcpy(lanes + lane * constant.width, &constant.bits, constant.width);
      }
    }
  }
}

u32 Block::special_value(Special special, u32 thread) const {
  const Launch& launch = machine_.launch;
  const u32 x = launch.block[0], y = launch.block[1];
  const u32 lane = thread % kLanes;
  const Mask bit = Mask{1} << lane;
  switch (special) {
    case Special::kTidX:
      return thread % x;
    case Special::kTidY:
      return thread / x % y;
    case Special::kTidZ:
      return thread / x / y;
    case Special::kNtidX:
      return x;
    case Special::kNtidY:
      return y;
    case Special::kNtidZ:
      return launch.block[2];
    case Special::kCtaidX:
      return machine_.block[0];
    case Special::kCtaidY:
      return machine_.block[1];
    case Special::kCtaidZ:
      return machine_.block[2];
    case Special::kNctaidX:
      return launch.grid[0];
    case Special::kNctaidY:
      return launch.grid[1];
    case Special::kNctaidZ:
      return launch.grid[2];
    case Special::kLaneid:
      return lane;
    case Special::kWarpid:
      return thread / kLanes;
    case Special::kNwarpid:
      return static_cast<u32>(warps_.size());
    case Special::kSmid:
      return static_cast<u32>(random_ % static_cast<u64>(machine_.device.multiprocessors));
    case Special::kNsmid:
      return static_cast<u32>(machine_.device.multiprocessors);
    case Special::kGridid:
      return 1;
    case Special::kLanemaskEq:
      return bit;
    case Special::kLanemaskLt:
      return bit - 1;
    case Special::kLanemaskLe:
      return bit | (bit - 1);
    case Special::kLanemaskGe:
      return ~(bit - 1);
    case Special::kLanemaskGt:
      return ~(bit | (bit - 1));
    case Special::kDynamicSmemSize:
      return static_cast<u32>(launch.dynamic_shared_bytes);
    case Special::kTotalSmemSize:
      return static_cast<u32>(machine_.shared.size());
  }
  return 0;
}

void Block::set_specials(Warp& warp) {
  for (const auto& [reg, special] : machine_.kernel.specials) {
    u32* lanes = warp.lanes<u32>(reg);
    for (u32 lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = special_value(special, warp.number * kLanes + lane);
    }
    warp.written[reg.index] = kAllLanes;
  }
}

void Block::begin(u64 linear_block) {
  random_ = scrambled(machine_.options.seed ^ scrambled(linear_block));
  machine_.shared.begin_block();
  machine_.local.begin_block();
  std::fill(written_.begin(), written_.end(), Mask{0});
  for (Warp& warp : warps_) {
    const std::size_t left = threads_ - std::size_t{warp.number} * kLanes;
    warp.live = left >= kLanes ? kAllLanes : (Mask{1} << left) - 1;
    warp.active = warp.live;
    warp.pc = 0;
    warp.pending.clear();
    warp.barrier = nullptr;
    warp.instructions = 0;
    warp.work.assign(1, {});
    for (AsyncCopies& copies : warp.copies) copies.clear();
    for (const Kernel::Constant& constant : machine_.kernel.constants) {
      warp.written[constant.reg.index] = kAllLanes;
    }
    set_specials(warp);
  }
}

void Block::run(u64 linear_block) {
  begin(linear_block);
  std::vector<Warp*> waiting;
  do {
    waiting.clear();
    // A new random order of warps after each barrier.
    for (std::size_t k = order_.size(); k > 1; --k) {
      random_ = scrambled(random_);
      std::swap(order_[k - 1], order_[random_ % k]);
    }
    for (const u32 number : order_) {
      Warp& warp = warps_[number];
      if (warp.live == 0) continue;
      run_warp(warp);
      if (warp.live != 0) waiting.push_back(&warp);
    }
    if (!waiting.empty()) release(waiting);
  } while (!waiting.empty());
  for (Warp& warp : warps_) {
    const auto instructions = static_cast<std::int64_t>(warp.instructions);
    machine_.report.warp_instructions += instructions;
    if (!machine_.options.count_traffic) continue;
    warp.work.back().instructions = instructions;
    for (std::size_t k = warp.work.size() - 1; k > 0; --k) {
      warp.work[k].instructions -= warp.work[k - 1].instructions;
    }
    ++machine_.report.warps[warp.work];
  }
}

// Releases all live warps of the block from a barrier. They must wait at the same one.
void Block::release(std::vector<Warp*>& waiting) {
  ++machine_.report.barriers;
  machine_.shared.barrier();
  u32 count = 0;
  bool all = true;
  const Instruction& first = *waiting[0]->barrier;
  const auto id = [](Warp& warp) {
    return warp.lanes<u32>(warp.barrier->in[0])[std::countr_zero(warp.live)];
  };
  for (Warp* warp : waiting) {
    const Instruction& barrier = *warp->barrier;
    if (id(*warp) != id(*waiting[0]) || barrier.reduction != first.reduction) {
      machine_.fail("divergent-barrier", *warp, barrier, -1,
                    "waits while warp " + std::to_string(waiting[0]->number) +
                        " waits at another barrier, of line " + std::to_string(first.line));
    }
    if (barrier.reduction == Reduction::kNone) continue;
    const Mask yes = warp->mask(barrier.in[1]) & warp->live;
    count += static_cast<u32>(std::popcount(yes));
    all = all && yes == warp->live;
  }
  for (Warp* warp : waiting) {
    const Instruction& barrier = *warp->barrier;
    warp->barrier = nullptr;
    warp->work.back().instructions = static_cast<std::int64_t>(warp->instructions);
    warp->work.emplace_back();
    if (barrier.reduction == Reduction::kNone) continue;
    if (barrier.reduction == Reduction::kCount) {
      std::fill_n(warp->lanes<u32>(barrier.out[0]), kLanes, count);
    } else {
      const bool yes = barrier.reduction == Reduction::kAnd ? all : count > 0;
      warp->mask(barrier.out[0]) = yes ? kAllLanes : 0;
    }
    warp->written[barrier.out[0].index] |= warp->live;
  }
}

// Runs the warp to its next barrier or to its end.
void Block::run_warp(Warp& warp) {
  const Instruction* code = machine_.kernel.code.data();
  while (warp.live != 0) {
    const Instruction& i = code[warp.pc];
    if (!i.hidden) ++warp.instructions;
    Mask active = warp.active;
    if (i.guarded) {
      if ((active & ~warp.written[i.guard.index]) != 0) {
        machine_.fail("uninitialised", warp, i,
                      std::countr_zero(active & ~warp.written[i.guard.index]),
                      "the guard was never written");
      }
      active &= i.guard_negated ? ~warp.mask(i.guard) : warp.mask(i.guard);
    }
    u32 next = i.next;
    if (active != 0) {
      Mask known = kAllLanes;
      for (int k = 0; k < i.inputs; ++k) known &= warp.written[i.in[k].index];
      if ((active & ~known) != 0 && !i.copies) {
        machine_.fail("uninitialised", warp, i, std::countr_zero(active & ~known),
                      "a register was never written");
      }
      switch (i.flow) {
        case Flow::kNext:
          i.handler(machine_, warp, i, active);
          for (int k = 0; k < i.outputs; ++k) {
            Mask& written = warp.written[i.out[k].index];
            written = (written & ~active) | (known & active);
          }
          break;
        case Flow::kBranch:
          if (active == warp.active) {
            next = i.target;
          } else {
            wait_at(warp, i.target, active);
            warp.active &= ~active;
          }
          if (warp.instructions > machine_.options.most_instructions) {
            machine_.fail("endless", warp, i, std::countr_zero(active), "a loop without an end");
          }
          break;
        case Flow::kExit:
          warp.live &= ~active;
          warp.active &= ~active;
          break;
        case Flow::kBarrier:
          if (active != warp.live) {
            machine_.fail("divergent-barrier", warp, i, std::countr_zero(warp.live & ~active),
                          "is not at the barrier, lanes " + hex(active) + " of its warp are");
          }
          warp.barrier = &i;
          break;
      }
    }
    warp.pc = next;
    if (i.ends_block) choose(warp);
    if (warp.barrier != nullptr) return;
  }
}

}  // namespace cudasim
