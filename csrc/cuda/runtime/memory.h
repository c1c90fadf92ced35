// Owners of resources in a device's context: device memory, page-locked host memory, streams and
// events. Make, use and destroy an owner within a DeviceScope of the same device. An owner that has
// no resource yet may be destroyed anywhere. A resource must outlive the work in flight that uses
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../driver/driver.h"

namespace rmsnorm::cuda {

// Owns a driver handle, or nothing. `Release` frees the handle. It is a member of Driver or one of
// the functions below.
template <class Handle, auto Release>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  // Errors are ignored: the driver reports those that matter again at the next call.
  ~Owned() { reset(); }

  Handle get() const { return handle_; }
  bool is_made() const { return handle_ != Handle{}; }

  void reset(Handle handle = {}) {
    if (is_made()) {
      if constexpr (std::is_member_pointer_v<decltype(Release)>) {
        static_cast<void>((driver().*Release)(handle_));
      } else {
        static_cast<void>(Release(handle_));
      }
    }
    handle_ = handle;
  }

 private:
  Handle handle_{};
};

// Memory on the device or page-locked memory. `Allocate(&pointer, bytes)` allocates it, and
// `Release(pointer)` frees it.
template <class Pointer, auto Allocate, auto Release>
class Memory {
 public:
  // Frees the old memory, then allocates `bytes`, which may be 0. Errors: kCuda; the object is then
  // empty.
  Status allocate(std::int64_t bytes) {
    pointer_.reset();
    bytes_ = 0;
    if (bytes == 0) return {};
    Pointer pointer{};
    RMSNORM_TRY(Allocate(&pointer, static_cast<std::size_t>(bytes)));
    pointer_.reset(pointer);
    bytes_ = bytes;
    return {};
  }
  Pointer get() const { return pointer_.get(); }
  std::int64_t bytes() const { return bytes_; }

 private:
  Owned<Pointer, Release> pointer_;
  std::int64_t bytes_ = 0;
};

inline Status allocate_on_device(CUdeviceptr* pointer, std::size_t bytes) {
  const RelaxedCaptures captures;
  return RMSNORM_CUDA(cuMemAlloc_v2, pointer, bytes);
}
inline CUresult free_on_device(CUdeviceptr pointer) {
  const RelaxedCaptures captures;
  return driver().cuMemFree_v2(pointer);
}
inline Status allocate_pinned(void** pointer, std::size_t bytes) {
  const RelaxedCaptures captures;
  return RMSNORM_CUDA(cuMemHostAlloc, pointer, bytes, CU_MEMHOSTALLOC_PORTABLE);
}
inline CUresult free_pinned(void* pointer) {
  const RelaxedCaptures captures;
  return driver().cuMemFreeHost(pointer);
}

// Device memory, aligned to 256 bytes.
using DeviceMemory = Memory<CUdeviceptr, allocate_on_device, free_on_device>;

// Page-locked host memory. Copies between page-locked memory and the device are asynchronous.
using PinnedMemory = Memory<void*, allocate_pinned, free_pinned>;

class EventHandle : public Owned<CUevent, &Driver::cuEventDestroy_v2> {
 public:
  Status make(unsigned flags = CU_EVENT_DISABLE_TIMING) {
    CUevent event = nullptr;
    RMSNORM_TRY(RMSNORM_CUDA(cuEventCreate, &event, flags));
    reset(event);
    return {};
  }
};

class StreamHandle : public Owned<CUstream, &Driver::cuStreamDestroy_v2> {
 public:
  // Makes a stream that does not wait for the default stream, which other libraries use.
  Status make() {
    CUstream stream = nullptr;
    RMSNORM_TRY(RMSNORM_CUDA(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING));
    reset(stream);
    return {};
  }
  Status synchronize() const { return RMSNORM_CUDA(cuStreamSynchronize, get()); }
  Status record(const EventHandle& event) const {
    return RMSNORM_CUDA(cuEventRecord, event.get(), get());
  }
  Status wait(const EventHandle& event) const {
    return RMSNORM_CUDA(cuStreamWaitEvent, get(), event.get(), 0);
  }
};

}  // namespace rmsnorm::cuda
