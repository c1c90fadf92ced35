// The simulated GPU without its driver: device memory, PTX modules, and the execution of one kernel
// launch with every check. The simulated driver (driver.h) uses only this interface.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cudasim {

// An error that a checker found. `kind` is one word for tests (out-of-bounds, misaligned,
// uninitialised, shared-race, global-race, divergent-barrier, inactive-shuffle, too-much-shared,
// too-many-threads, use-after-free, invalid-ptx, …). what() names the kernel, the PTX line, the
// block, the thread and the address.
class Fault : public std::runtime_error {
 public:
  Fault(std::string kind, const std::string& message)
      : std::runtime_error(message), kind(std::move(kind)) {}
  std::string kind;
};

struct DeviceModel {
  int major = 9;
  int minor = 0;
  int multiprocessors = 132;
  std::size_t memory_bytes = std::size_t{80} << 30;
  std::size_t shared_bytes = 48 << 10;         // per block, without opt-in
  std::size_t shared_optin_bytes = 227 << 10;  // per block, with opt-in
  int registers_per_block = 65536;
  std::size_t cache_bytes = 50 << 20;  // L2

  // The model for a compute capability. Throws std::invalid_argument below 7.0.
  static DeviceModel of(int major, int minor);
};

// Sparse device memory: a page of an allocation takes host memory when it is first written. Device
// addresses are not host addresses. Allocations are aligned to 256 bytes, a guard separates them,
// and no address is ever reused, so that an access to a stale address is detected.
class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t capacity);
  ~DeviceMemory();

  // Returns 0 if not enough memory is free.
  std::uint64_t allocate(std::size_t bytes);
  // Throws Fault if no live allocation begins at the address.
  void free(std::uint64_t address);
  std::size_t free_bytes() const;
  std::size_t live_allocations() const;

  // Copies and fills throw Fault out of bounds and for a read of bytes that were never written.
  void write(std::uint64_t address, const void* source, std::size_t bytes);
  void read(std::uint64_t address, void* destination, std::size_t bytes) const;
  void copy(std::uint64_t destination, std::uint64_t source, std::size_t bytes);
  // Fills `count` elements of 1, 2 or 4 bytes each.
  template <class Element>
  void fill(std::uint64_t address, Element value, std::size_t count);

  class Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct Kernel;  // the decoded PTX of one .entry

struct KernelInfo {
  std::string name;
  std::vector<std::size_t> parameter_offsets;  // in the argument buffer, as in the CUDA ABI
  std::vector<std::size_t> parameter_sizes;
  std::size_t parameter_bytes = 0;
  std::size_t static_shared_bytes = 0;
  int max_threads = 1024;  // .maxntid, else 1024
};

// A parsed PTX module. The constructor throws Fault("invalid-ptx") on any syntax or instruction
// that the interpreter does not know.
class Module {
 public:
  explicit Module(std::string_view ptx);
  ~Module();
  const Kernel* find(const std::string& name) const;  // null: no such kernel
  const std::vector<std::string>& kernel_names() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

const KernelInfo& info(const Kernel& kernel);

struct Launch {
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  std::size_t dynamic_shared_bytes = 0;
  std::size_t allowed_dynamic_shared_bytes = 48 << 10;  // the kernel's opt-in
  std::vector<unsigned char> parameters;                // the argument buffer, see KernelInfo
};

// The traffic of one launch in one allocation of global memory.
struct BufferTraffic {
  std::uint64_t address = 0;                           // start of the allocation
  std::size_t bytes = 0;                               // size of the allocation
  std::int64_t bytes_read = 0, bytes_written = 0;      // requested by lanes
  std::int64_t read_sectors = 0, written_sectors = 0;  // distinct 32-byte sectors touched
  std::int64_t read_requests = 0, write_requests = 0;  // warp instructions
  std::int64_t sectors_requested = 0;      // sum over requests; per request, it measures coalescing
  std::int64_t accesses_by_width[5] = {};  // lane accesses of 1, 2, 4, 8, 16 bytes
};

// The work of one warp between two barriers. An instruction counts once, however many lanes are
// active; an access counts the bytes of one lane.
struct WarpWork {
  std::int64_t instructions = 0, shuffles = 0;
  std::int64_t global_loaded = 0, global_stored = 0, shared_loaded = 0, shared_stored = 0;
  auto operator<=>(const WarpWork&) const = default;
};

struct LaunchReport {
  std::string kernel;
  Launch launch;
  std::vector<BufferTraffic> buffers;
  std::int64_t warp_instructions = 0;
  std::int64_t shared_requests = 0,
               shared_wavefronts = 0;  // bank conflicts show as additional wavefronts
  std::int64_t barriers = 0;           // sum over blocks
  std::int64_t shuffles = 0;
  // From the work of a warp, cut at its barriers, to the number of warps that did the same.
  std::map<std::vector<WarpWork>, std::int64_t> warps;
};

struct ExecutionOptions {
  std::uint64_t seed = 1;      // for the order of blocks and the error of .approx instructions
  bool count_traffic = false;  // fills `buffers` and `warps`; costs time
  std::uint64_t most_instructions = std::uint64_t{1} << 28;  // per warp; more: an endless loop
};

// Executes the whole launch. Throws Fault if a checker finds an error.
LaunchReport execute(const Kernel& kernel, const Launch& launch, const DeviceModel& device,
                     DeviceMemory& memory, const ExecutionOptions& options);

}  // namespace cudasim
