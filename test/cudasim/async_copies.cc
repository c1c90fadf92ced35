#include "async_copies.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "memory_access.h"
#include "shared_memory.h"
#include "traffic.h"

namespace cudasim {
namespace {

void start_async_copy(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  Addresses from;
  std::copy_n(warp.lanes<u64>(i.in[1]), kLanes, from.device);
  resolve_space(machine, warp, i, active, Space::kGlobal, i.width, Access::kRead, from);
  u64 to[kLanes];
  std::copy_n(warp.lanes<u32>(i.in[0]), kLanes, to);
  count_work(warp.work.back(), Space::kGlobal, i.width, Access::kRead);
  count_work(warp.work.back(), Space::kShared, i.width, Access::kWrite);
  if (machine.traffic != nullptr) {
    machine.traffic->count_global(from.device, active, i.width, Access::kRead);
    machine.traffic->count_shared(to, active, i.width);
  }
  for (Mask left = active; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (to[lane] % i.width != 0) {
      machine.fail("misaligned", warp, i, lane,
                   hex(to[lane]) + " is no multiple of " + std::to_string(i.width) + " bytes");
    }
    AsyncCopies::Copy copy{to[lane], {}, i.width};
    const std::byte* host =
        from.contiguous ? from.host[0] + static_cast<std::size_t>(lane) * i.width : from.host[lane];
    std::memcpy(copy.bytes.data(), host, i.width);
    warp.copies[static_cast<std::size_t>(lane)].add(copy);
  }
}

void finish_async_copies(Machine& machine, Warp& warp, const Instruction& i, Mask active) {
  std::vector<AsyncCopies::Copy> copies;
  for (Mask left = active; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    AsyncCopies& own = warp.copies[static_cast<std::size_t>(lane)];
    while (own.take(static_cast<std::size_t>(i.immediate), &copies)) {
      for (const auto& [to, bytes, count] : copies) {
        Trouble trouble = Trouble::kNone;
        std::byte* const host =
            machine.shared.touch(to, count, Access::kWrite, warp.number, lane, trouble);
        if (host == nullptr) report(machine, warp, i, lane, Space::kShared, to, count, trouble);
        std::memcpy(host, bytes.data(), count);
      }
    }
  }
}

}  // namespace

Handler async_copy_handler() { return start_async_copy; }
Handler async_commit_handler() {
  return [](Machine&, Warp& warp, const Instruction&, Mask active) {
    for (Mask left = active; left != 0; left &= left - 1) {
      warp.copies[static_cast<std::size_t>(std::countr_zero(left))].end_group();
    }
  };
}
Handler async_wait_handler() { return finish_async_copies; }

}  // namespace cudasim
