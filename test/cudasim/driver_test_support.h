// Support for tests of the driver: a new driver for each test, and small kernels.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "driver.h"

namespace cudasim {

// A driver as in a new process, with the context of device 0 current. By default the scheduler's
// thread starts no work on its own, so that a missing wait always shows.
class Simulation {
 public:
  explicit Simulation(Options options = quiet());

  static Options quiet();
  static Options devices(std::size_t count);
  static Options seeded(std::uint64_t seed);

  // Ends the context and reports leaks. Without it, the next test discards the context silently.
  void release();

  // The lines of the trace so far.
  std::vector<std::string> trace() const;
  // The number of lines that contain all of these texts.
  int traced(const std::vector<std::string>& texts) const;
  int faults(const std::string& kind) const;

 private:
  class Directory;
  std::shared_ptr<Directory> directory_;
};

// PTX with these kernels:
//   add_one(u32* x, u32 n)      x[i] += 1
//   store(u32* x, u32 value)    x[0] = value
//   copy_first(u32* y, u32* x)  y[0] = x[0]
//   staged(u32* x)              x[0] through 16 bytes of static and some dynamic shared memory
//   parameters(u64* out, u8 a, u16 b, u32 c, u64 d)  out[0 … 3] = a, b, c, d
extern const char* const kPtx;

CUfunction load_kernel(const char* name);

CUdeviceptr allocate(std::size_t bytes);
// Allocates device memory with these values. Waits for the copy.
CUdeviceptr device_copy(const std::vector<unsigned>& values);
std::vector<unsigned> host_copy(CUdeviceptr address, std::size_t count);

// Launches one block.
CUresult launch(CUfunction function, std::vector<void*> parameters, CUstream stream = nullptr,
                unsigned threads = 1, unsigned shared_bytes = 0);

// Page-locked memory for one test.
struct Pinned {
  explicit Pinned(std::size_t count) {
    REQUIRE(cuMemHostAlloc(&data, 4 * count, CU_MEMHOSTALLOC_PORTABLE) == CUDA_SUCCESS);
  }
  unsigned& operator[](std::size_t i) { return static_cast<unsigned*>(data)[i]; }
  void* data = nullptr;
};

// Waits for all work of the current context and returns its error.
CUresult synchronize();

CUstream make_stream(unsigned flags = CU_STREAM_NON_BLOCKING);
CUevent make_event(unsigned flags = CU_EVENT_DISABLE_TIMING);

// Makes later work on `to` wait for all work queued on `from`.
void chain(CUstream from, CUstream to);

}  // namespace cudasim
