// The simulated GPU without its driver: device memory, PTX modules, and the execution of one kernel
// launch with every check. The driver's stand-in (driver.cc and its kin) is built on this alone.
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

// What a checker found. `kind` is one word for tests (out-of-bounds, misaligned, uninitialised,
// shared-race, global-race, divergent-barrier, inactive-shuffle, too-much-shared, too-many-threads,
// use-after-free, invalid-ptx, …); what() says kernel, line of PTX, block, thread and address.
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
  std::size_t shared_bytes = 48 << 10;         // per block without opting in
  std::size_t shared_optin_bytes = 227 << 10;  // per block after it
  int registers_per_block = 65536;
  std::size_t cache_bytes = 50 << 20;  // of the second level

  // Of compute capability 7.0 or later; throws std::invalid_argument for others.
  static DeviceModel of(int major, int minor);
};

// Sparse: pages of an allocation take host memory when they are first written. Device addresses are
// not host addresses. Allocations are 256-byte aligned, apart from each other by a guard, and not
// reused soon, so that a stale address is found out.
class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t capacity);
  ~DeviceMemory();

  // 0 if there is not enough left.
  std::uint64_t allocate(std::size_t bytes);
  // Throws Fault for an address that is no live allocation.
  void free(std::uint64_t address);
  std::size_t free_bytes() const;
  std::size_t live_allocations() const;

  // Copies and fills check bounds (Fault). Reading bytes never written is a Fault, too.
  void write(std::uint64_t address, const void* source, std::size_t bytes);
  void read(std::uint64_t address, void* destination, std::size_t bytes) const;
  void copy(std::uint64_t destination, std::uint64_t source, std::size_t bytes);
  // Fills `count` elements of 1, 2 or 4 bytes.
  template <class Element>
  void fill(std::uint64_t address, Element value, std::size_t count);

  class Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct Kernel;  // decoded PTX of one .entry

struct KernelInfo {
  std::string name;
  std::vector<std::size_t> parameter_offsets;  // in the argument buffer, by the rules of the ABI
  std::vector<std::size_t> parameter_sizes;
  std::size_t parameter_bytes = 0;
  std::size_t static_shared_bytes = 0;
  int max_threads = 1024;  // .maxntid, else 1024
};

// A parsed PTX module. Throws Fault("invalid-ptx") on anything it does not know, at parse time.
class Module {
 public:
  explicit Module(std::string_view ptx);
  ~Module();
  const Kernel* find(const std::string& name) const;  // null if there is none
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
  std::size_t allowed_dynamic_shared_bytes = 48 << 10;  // what the kernel opted in to
  std::vector<unsigned char> parameters;                // laid out as KernelInfo says
};

// Traffic of one launch over one allocation of global memory.
struct BufferTraffic {
  std::uint64_t address = 0;                           // of the allocation
  std::size_t bytes = 0;                               // its size
  std::int64_t bytes_read = 0, bytes_written = 0;      // requested by lanes
  std::int64_t read_sectors = 0, written_sectors = 0;  // distinct 32-byte sectors touched
  std::int64_t read_requests = 0, write_requests = 0;  // warp instructions
  std::int64_t sectors_requested = 0;      // summed over requests: / requests = coalescing
  std::int64_t accesses_by_width[5] = {};  // lane accesses of 1, 2, 4, 8, 16 bytes
};

// What one warp did from one barrier to the next, whatever lanes took part: accesses by the bytes
// of a lane.
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
               shared_wavefronts = 0;  // more wavefronts than needed = conflicts
  std::int64_t barriers = 0;           // summed over blocks
  std::int64_t shuffles = 0;
  // How many warps did the same, from their begin over each barrier to their end.
  std::map<std::vector<WarpWork>, std::int64_t> warps;
};

struct ExecutionOptions {
  std::uint64_t seed = 1;      // order of blocks, perturbation of .approx instructions
  bool count_traffic = false;  // fill `buffers`; costs time
  std::uint64_t most_instructions = std::uint64_t{1} << 28;  // of a warp; more is an endless loop
};

// Executes the launch to its end. Throws Fault when a checker fires.
LaunchReport execute(const Kernel& kernel, const Launch& launch, const DeviceModel& device,
                     DeviceMemory& memory, const ExecutionOptions& options);

}  // namespace cudasim
