// Executes a launch: checks its limits, runs its blocks in random order, makes its report.
#include <cstdio>

#include "block.h"
#include "local_memory.h"
#include "memory.h"
#include "shared_memory.h"
#include "traffic.h"

namespace cudasim {
namespace {

// A random permutation of 0 … count - 1 that takes no memory. It is a bijection on the numbers
// below the next power of two, repeated while the result is outside the range.
class Shuffled {
 public:
  Shuffled(u64 count, u64 seed) : count_(count), bits_(std::bit_width(count - 1)), seed_(seed) {}

  u64 operator()(u64 value) const {
    if (count_ == 1) return 0;
    const u64 mask = (u64{1} << bits_) - 1;
    do {
      for (u64 round = 0; round < 3; ++round) {
        const u64 key = scrambled(seed_ + round);
        value = (value * (key | 1) + (key >> 32)) & mask;
        value ^= value >> (bits_ / 2 + 1);
      }
    } while (value >= count_);
    return value;
  }

 private:
  u64 count_;
  int bits_;
  u64 seed_;
};

[[noreturn]] void refuse(const char* kind, const Kernel& kernel, const std::string& what) {
  throw Fault(kind, "launch of " + kernel.info.name + ": " + what);
}

void check_grid(const Kernel& kernel, const Launch& launch) {
  constexpr unsigned kMost[3] = {0x7fffffff, 65535, 65535};
  for (int k = 0; k < 3; ++k) {
    if (launch.grid[k] == 0 || launch.grid[k] > kMost[k]) {
      refuse("invalid-grid", kernel,
             std::to_string(launch.grid[k]) + " blocks along " + "xyz"[k] + " (1 to " +
                 std::to_string(kMost[k]) + ")");
    }
  }
}

void check_block(const Kernel& kernel, const Launch& launch) {
  constexpr unsigned kMost[3] = {1024, 1024, 64};
  u64 threads = 1;
  for (int k = 0; k < 3; ++k) {
    if (launch.block[k] == 0 || launch.block[k] > kMost[k]) {
      refuse("too-many-threads", kernel,
             std::to_string(launch.block[k]) + " threads along " + "xyz"[k] + " (1 to " +
                 std::to_string(kMost[k]) + ")");
    }
    if (kernel.required_threads[k] != 0 && launch.block[k] != kernel.required_threads[k]) {
      refuse("too-many-threads", kernel, "not the number of threads of .reqntid");
    }
    threads *= launch.block[k];
  }
  if (threads > static_cast<u64>(kernel.info.max_threads)) {
    refuse("too-many-threads", kernel,
           std::to_string(threads) + " threads, at most " +
               std::to_string(kernel.info.max_threads) + " are allowed");
  }
}

// Returns the bytes of shared memory per block: dynamic memory follows static memory. They may
// exceed the default only if the kernel opted in.
std::size_t check_shared(const Kernel& kernel, const Launch& launch, const DeviceModel& device) {
  const std::size_t dynamic = launch.dynamic_shared_bytes;
  const std::size_t fixed = kernel.info.static_shared_bytes;
  const std::size_t total = dynamic == 0 ? fixed : kernel.dynamic_shared_begin + dynamic;
  const bool opted_in = launch.allowed_dynamic_shared_bytes > device.shared_bytes;
  const std::size_t most = opted_in ? device.shared_optin_bytes : device.shared_bytes;
  if (fixed > device.shared_bytes || dynamic > launch.allowed_dynamic_shared_bytes ||
      total > most) {
    refuse("too-much-shared", kernel,
           std::to_string(fixed) + " bytes static and " + std::to_string(dynamic) +
               " dynamic; opted in to " + std::to_string(launch.allowed_dynamic_shared_bytes) +
               ", a block has " + std::to_string(most));
  }
  return total;
}

}  // namespace

std::string hex(u64 value) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

void Machine::fail(const char* kind, const Warp& warp, const Instruction& instruction, int lane,
                   const std::string& what) const {
  const auto triple = [](u64 x, u64 y, u64 z) {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
  };
  std::string who = "warp " + std::to_string(warp.number);
  if (lane >= 0) {
    const u64 thread = u64{warp.number} * kLanes + static_cast<u64>(lane);
    const u64 x = launch.block[0], y = launch.block[1];
    who = "thread " + triple(thread % x, thread / x % y, thread / x / y);
  }
  const auto index = static_cast<std::size_t>(&instruction - kernel.code.data());
  throw Fault(kind, std::string(kind) + " in " + kernel.info.name + ", PTX line " +
                        std::to_string(instruction.line) + " (" + kernel.statements[index] +
                        "), block " + triple(block[0], block[1], block[2]) + ", " + who + ": " +
                        what);
}

LaunchReport execute(const Kernel& kernel, const Launch& launch, const DeviceModel& device,
                     DeviceMemory& memory, const ExecutionOptions& options) {
  check_grid(kernel, launch);
  check_block(kernel, launch);
  const std::size_t shared_bytes = check_shared(kernel, launch, device);
  if (launch.parameters.size() != kernel.info.parameter_bytes) {
    refuse("invalid-parameters", kernel,
           std::to_string(launch.parameters.size()) + " bytes of parameters, the kernel takes " +
               std::to_string(kernel.info.parameter_bytes));
  }

  LaunchReport report;
  report.kernel = kernel.info.name;
  report.launch = launch;
  const u64 blocks = u64{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  const std::size_t warps =
      (std::size_t{launch.block[0]} * launch.block[1] * launch.block[2] + kLanes - 1) / kLanes;
  GlobalView global(memory.impl(), blocks, kernel.global_granule_shift);
  SharedMemory shared(shared_bytes, warps, kernel.shared_granule_shift);
  LocalMemory local(kernel.local_bytes, warps);
  TrafficCounter traffic(memory.impl());
  Machine machine{kernel, launch,
                  device, options,
                  global, shared,
                  local,  options.count_traffic ? &traffic : nullptr,
                  report, std::vector<Allocation*>(kernel.code.size())};
  Block block(machine);
  const Shuffled order(blocks, options.seed);
  for (u64 k = 0; k < blocks; ++k) {
    const u64 linear = order(k);
    machine.block[0] = static_cast<unsigned>(linear % launch.grid[0]);
    machine.block[1] = static_cast<unsigned>(linear / launch.grid[0] % launch.grid[1]);
    machine.block[2] = static_cast<unsigned>(linear / launch.grid[0] / launch.grid[1]);
    global.begin_block(linear);
    block.run(linear);
  }
  if (options.count_traffic) traffic.add_to(report);
  return report;
}

}  // namespace cudasim
