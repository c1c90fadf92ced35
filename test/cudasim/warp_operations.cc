// Instructions that exchange data between the lanes of a warp: shfl, vote, redux, activemask,
// bar.warp.sync. All lanes in an instruction's member mask must execute it together. On a GPU they
// would wait for each other; here a missing lane is a fault.
#include <bit>

#include "lanewise.h"
#include "shared_memory.h"

namespace cudasim {
namespace {

// Checks that all lanes in each lane's member mask are active and have the same mask.
void check_members(Machine& machine, const Warp& warp, const Instruction& i, Mask active,
                   const u32* members) {
  for (Mask left = active; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Mask named = members[lane];
    if (lane > 0 && left != active && named == members[lane - 1] &&
        (active >> (lane - 1) & 1) != 0 && (named >> lane & 1) != 0) {
      continue;  // the same mask as the lane before, which was checked
    }
    if ((named >> lane & 1) == 0) {
      machine.fail("inactive-shuffle", warp, i, lane,
                   "the mask " + hex(named) + " does not contain the lane itself");
    }
    const Mask missing = named & warp.live & ~active;
    if (missing != 0) {
      machine.fail("inactive-shuffle", warp, i, lane,
                   "the mask " + hex(named) + " names lanes that are not here: " + hex(missing));
    }
    for (Mask other = named & active; other != 0; other &= other - 1) {
      if (members[std::countr_zero(other)] != named) {
        machine.fail("inactive-shuffle", warp, i, lane,
                     "lanes that meet here name different masks");
      }
    }
  }
}

enum class Shuffle { kUp, kDown, kXor, kIndex };

// in: value; lane or delta; clamp and segment mask; members. out: value; whether it came from a
// lane in range.
template <Shuffle Mode>
void shuffle(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  const u32* value = warp.lanes<u32>(i.in[0]);
  const u32* by = warp.lanes<u32>(i.in[1]);
  const u32* clamp = warp.lanes<u32>(i.in[2]);
  const u32* members = warp.lanes<u32>(i.in[3]);
  check_members(machine, warp, i, active, members);
  ++machine.report.shuffles;
  ++warp.work.back().shuffles;
  u32 result[kLanes];
  Mask in_range = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((active >> lane & 1) == 0) continue;
    const int segment = static_cast<int>(clamp[lane] >> 8 & 31);
    const int delta = static_cast<int>(by[lane] & 31);
    const int bound = static_cast<int>(clamp[lane] & 31);
    const int most = (lane & segment) | (bound & ~segment);
    const int least = lane & segment;
    int source = 0;
    bool valid = false;
    switch (Mode) {
      case Shuffle::kUp:
        source = lane - delta;
        valid = source >= most;
        break;
      case Shuffle::kDown:
        source = lane + delta;
        valid = source <= most;
        break;
      case Shuffle::kXor:
        source = lane ^ delta;
        valid = source <= most;
        break;
      case Shuffle::kIndex:
        source = least | (delta & ~segment);
        valid = source <= most;
        break;
    }
    if (!valid) source = lane;
    if ((members[lane] & active & Mask{1} << source) == 0) {
      machine.fail("inactive-shuffle", warp, i, lane,
                   "reads lane " + std::to_string(source) + ", which takes no part");
    }
    result[lane] = value[source];
    in_range |= static_cast<Mask>(valid) << lane;
  }
  apply(
      active, warp.lanes<u32>(i.out[0]), [](u32 v) { return v; }, result);
  if (i.outputs > 1) assign_mask(warp.mask(i.out[1]), in_range, active);
}

// f(lanes with a true predicate, lanes that vote) returns the result of the vote. in: predicate;
// members.
template <class F>
Handler vote(F) {
  return [](Machine& machine, Warp& warp, const Instruction& i, Mask active) {
    const u32* members = warp.lanes<u32>(i.in[1]);
    check_members(machine, warp, i, active, members);
    const Mask yes = warp.mask(i.in[0]);
    Mask result = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((active >> lane & 1) == 0) continue;
      const Mask voters = members[lane] & active;
      result |= static_cast<Mask>(F{}(yes & voters, voters)) << lane;
    }
    assign_mask(warp.mask(i.out[0]), result, active);
  };
}

void ballot(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  const u32* members = warp.lanes<u32>(i.in[1]);
  check_members(machine, warp, i, active, members);
  const Mask yes = warp.mask(i.in[0]) & active;
  apply(
      active, warp.lanes<u32>(i.out[0]), [yes](u32 m) { return yes & m; }, members);
}

template <class T, class F>
Operation reduction(F) {
  return {[](Machine& machine, Warp& warp, const Instruction& i, Mask active) {
            const u32* members = warp.lanes<u32>(i.in[1]);
            check_members(machine, warp, i, active, members);
            const T* in = warp.lanes<T>(i.in[0]);
            T result[kLanes] = {};
            for (Mask left = active; left != 0; left &= left - 1) {
              const int lane = std::countr_zero(left);
              Mask others = members[lane] & active;
              result[lane] = in[std::countr_zero(others)];
              while ((others &= others - 1) != 0) {
                result[lane] = F{}(result[lane], in[std::countr_zero(others)]);
              }
            }
            apply(
                active, warp.lanes<T>(i.out[0]), [](T v) { return v; }, result);
          },
          "w=ww"};
}

void warp_barrier(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  const u32* members = warp.lanes<u32>(i.in[0]);
  check_members(machine, warp, i, active, members);
  for (Mask left = active; left != 0;) {
    const Mask named = members[std::countr_zero(left)];
    machine.shared.order_lanes(warp.number, named, warp.live);
    left &= ~named;
  }
}

void active_mask(Machine&, Warp& warp, const Instruction& i, Mask active) {
  u32* out = warp.lanes<u32>(i.out[0]);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((active >> lane & 1) != 0) out[lane] = active;
  }
}

// A clock that advances: the number of instructions that the warp has executed.
template <class T>
void clock(Machine&, Warp& warp, const Instruction& i, Mask active) {
  T* out = warp.lanes<T>(i.out[0]);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((active >> lane & 1) != 0) out[lane] = static_cast<T>(warp.instructions);
  }
}

}  // namespace

void add_warp_operations(OperationTable& table) {
  // "?" marks an optional output.
  table.add("shfl.sync.up.b32", {shuffle<Shuffle::kUp>, "wp?=wwww"});
  table.add("shfl.sync.down.b32", {shuffle<Shuffle::kDown>, "wp?=wwww"});
  table.add("shfl.sync.bfly.b32", {shuffle<Shuffle::kXor>, "wp?=wwww"});
  table.add("shfl.sync.idx.b32", {shuffle<Shuffle::kIndex>, "wp?=wwww"});
  table.add("vote.sync.all.pred", {vote([](Mask yes, Mask all) { return yes == all; }), "p=pw"});
  table.add("vote.sync.any.pred", {vote([](Mask yes, Mask) { return yes != 0; }), "p=pw"});
  table.add("vote.sync.uni.pred",
            {vote([](Mask yes, Mask all) { return yes == 0 || yes == all; }), "p=pw"});
  table.add("vote.sync.ballot.b32", {ballot, "w=pw"});
  table.add("activemask.b32", {active_mask, "w="});
  table.add("bar.warp.sync", {warp_barrier, "=w"});
  for_types<u32, s32>([&]<class T>() {
    const std::string type = kTypeName<T>;
    table.add("redux.sync.add." + type, reduction<T>([](T a, T b) {
                return static_cast<T>(static_cast<u32>(a) + static_cast<u32>(b));
              }));
    table.add("redux.sync.min." + type, reduction<T>([](T a, T b) { return a < b ? a : b; }));
    table.add("redux.sync.max." + type, reduction<T>([](T a, T b) { return a > b ? a : b; }));
  });
  table.add("redux.sync.and.b32", reduction<u32>([](u32 a, u32 b) { return a & b; }));
  table.add("redux.sync.or.b32", reduction<u32>([](u32 a, u32 b) { return a | b; }));
  table.add("redux.sync.xor.b32", reduction<u32>([](u32 a, u32 b) { return a ^ b; }));
  table.add("mov.clock.32", {clock<u32>, "w="});  // for the decoder: %clock, %clock64
  table.add("mov.clock.64", {clock<u64>, "d="});

  // Fences do nothing: warps run one after another, and each sees all earlier writes.
  const Handler nothing = [](Machine&, Warp&, const Instruction&, Mask) {};
  for (const char* fence :
       {"membar.cta", "membar.gl", "membar.sys", "fence.acq_rel.cta", "fence.acq_rel.gpu",
        "fence.acq_rel.sys", "fence.sc.cta", "fence.sc.gpu", "fence.sc.sys", "fence.sc.cluster",
        "fence.acq_rel.cluster", "griddepcontrol.wait", "griddepcontrol.launch_dependents"}) {
    table.add(fence, {nothing, "="});
  }
  table.add("nanosleep.u32", {nothing, "=w"});
  table.add("trap", {[](Machine& machine, Warp& warp, const Instruction& i, Mask active) {
                       machine.fail("trap", warp, i, std::countr_zero(active), "executed");
                     },
                     "="});
}

}  // namespace cudasim
