#include "staging.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "../../cpu/copy_rows.h"
#include "../../op/fold.h"
#include "../../os/never_destroyed.h"
#include "../../os/platform.h"
#include "../runtime/memory.h"
#include "tuning.h"

namespace rmsnorm::cuda {
namespace {

struct Buffers {
  DeviceMemory device;
  PinnedMemory pinned;

  // Makes room for `rows` rows of the arrays, and for `device_bytes` bytes on the device. Memory
  // that is large enough stays, and small sizes are rounded up to a power of two. Otherwise calls
  // of growing sizes would allocate every time, which takes as long as copying megabytes.
  Status reserve(std::int64_t device_bytes, std::span<const StagedArray> arrays,
                 std::int64_t rows) {
    std::int64_t pinned_bytes = 0;
    for (const StagedArray& array : arrays) {
      if (!array.is_used()) continue;
      pinned_bytes = std::max(pinned_bytes, array.offset + rows * array.row_bytes);
    }
    RMSNORM_TRY(reserve_in(device, device_bytes));
    return reserve_in(pinned, pinned_bytes);
  }

  char* pinned_of(const StagedArray& array) const {
    return static_cast<char*>(pinned.get()) + array.offset;
  }
  CUdeviceptr device_of(const StagedArray& array) const {
    return device.get() + static_cast<CUdeviceptr>(array.offset);
  }

 private:
  template <class Memory>
  static Status reserve_in(Memory& memory, std::int64_t bytes) {
    if (memory.bytes() >= bytes) return {};
    return memory.allocate(bytes <= 2 * kChunkBytes ? bit_ceil(bytes) : bytes);
  }
};

struct Slot {
  StreamHandle stream;
  EventHandle done;  // recorded when another stream must wait for this one
  Buffers buffers;
};

// The state that calls on one device share.
struct Staging {
  std::mutex mutex;
  struct Resources {
    Slot slots[kChunksInFlight];
    Buffers call_buffers;  // for StagedCall::call_arrays

    // Waits for the work of a failed call that is still in flight. Errors are ignored here: they
    // were already reported.
    ~Resources() {
      for (const Slot& slot : slots) {
        if (slot.stream.is_made()) driver().cuStreamSynchronize(slot.stream.get());
      }
    }

    std::int64_t cached_bytes() const {
      std::int64_t on_device = call_buffers.device.bytes(), on_host = call_buffers.pinned.bytes();
      for (const Slot& slot : slots) {
        on_device += slot.buffers.device.bytes();
        on_host += slot.buffers.pinned.bytes();
      }
      return std::max(on_device, on_host);
    }
  };
  std::shared_ptr<Resources> resources;  // null before the first call, and after one that failed or
                                         // exceeded kMaxCachedBytes
};

// Copies rows to page-locked memory, and enqueues copies from there to the device.
Status upload(std::span<const StagedArray> arrays, const Buffers& buffers, std::int64_t first_row,
              std::int64_t rows, const StreamHandle& stream) {
  for (const StagedArray& array : arrays) {
    if (array.source == nullptr) continue;
    char* const pinned = buffers.pinned_of(array);
    const auto pack = [&](std::int64_t packed, std::int64_t strided, std::int64_t bytes) {
      std::memcpy(pinned + packed, static_cast<const char*>(array.source) + strided,
                  static_cast<std::size_t>(bytes));
    };
    RMSNORM_TRY(cpu::copy_rows(array, array.row_bytes, first_row, rows, pack));
    RMSNORM_TRY(RMSNORM_CUDA(cuMemcpyHtoDAsync_v2, buffers.device_of(array), pinned,
                             static_cast<std::size_t>(rows * array.row_bytes), stream.get()));
  }
  return {};
}

// The other direction. download() enqueues copies from the device to page-locked memory. After
// these have run, unpack_rows() copies the rows from there to the host arrays.
Status download(std::span<const StagedArray> arrays, const Buffers& buffers, std::int64_t rows,
                const StreamHandle& stream) {
  for (const StagedArray& array : arrays) {
    if (array.destination == nullptr) continue;
    RMSNORM_TRY(RMSNORM_CUDA(cuMemcpyDtoHAsync_v2, buffers.pinned_of(array),
                             buffers.device_of(array),
                             static_cast<std::size_t>(rows * array.row_bytes), stream.get()));
  }
  return {};
}
Status unpack_rows(std::span<const StagedArray> arrays, const Buffers& buffers,
                   std::int64_t first_row, std::int64_t rows) {
  for (const StagedArray& array : arrays) {
    if (array.destination == nullptr) continue;
    const auto unpack = [&](std::int64_t packed, std::int64_t strided, std::int64_t bytes) {
      std::memcpy(static_cast<char*>(array.destination) + strided,
                  buffers.pinned_of(array) + packed, static_cast<std::size_t>(bytes));
    };
    RMSNORM_TRY(cpu::copy_rows(array, array.row_bytes, first_row, rows, unpack));
  }
  return {};
}

// One call in progress.
class Run {
 public:
  Run(const StagedCall& call, Staging::Resources& resources)
      : call_(call),
        resources_(resources),
        chunks_(ceil_div(call.rows, call.chunk_rows)),
        slots_(static_cast<int>(std::clamp<std::int64_t>(chunks_, 1, kChunksInFlight))) {}

  Status run() {
    RMSNORM_TRY(prepare());
    RMSNORM_TRY(begin());
    for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
      if (chunk >= slots_) RMSNORM_TRY(take_results(chunk - slots_));
      RMSNORM_TRY(start(chunk));
    }
    RMSNORM_TRY(end());
    for (std::int64_t chunk = std::max<std::int64_t>(chunks_ - slots_, 0); chunk < chunks_;
         ++chunk) {
      RMSNORM_TRY(take_results(chunk));
    }
    RMSNORM_TRY(first().stream.synchronize());
    return unpack_rows(call_.call_arrays, resources_.call_buffers, 0, 1);
  }

 private:
  Slot& first() { return resources_.slots[0]; }
  Slot& slot_of(std::int64_t chunk) { return resources_.slots[chunk % slots_]; }
  std::int64_t rows_of(std::int64_t chunk) const {
    return std::min(call_.chunk_rows, call_.rows - chunk * call_.chunk_rows);
  }

  Status prepare() {
    RMSNORM_TRY(resources_.call_buffers.reserve(call_.call_layout.bytes(), call_.call_arrays, 1));
    for (int i = 0; i < slots_; ++i) {
      Slot& slot = resources_.slots[i];
      if (!slot.stream.is_made()) RMSNORM_TRY(slot.stream.make());
      if (!slot.done.is_made()) RMSNORM_TRY(slot.done.make());
      if (chunks_ == 0) continue;
      RMSNORM_TRY(slot.buffers.reserve(call_.chunk_layout.bytes(), call_.chunk_arrays, rows_of(0)));
    }
    return {};
  }

  // Uploads the arrays of the whole call on the first stream; the other streams wait for it.
  Status begin() {
    RMSNORM_TRY(upload(call_.call_arrays, resources_.call_buffers, 0, 1, first().stream));
    if (slots_ == 1) return {};
    RMSNORM_TRY(first().stream.record(first().done));
    for (int i = 1; i < slots_; ++i) {
      RMSNORM_TRY(resources_.slots[i].stream.wait(first().done));
    }
    return {};
  }

  Status start(std::int64_t chunk) {
    Slot& slot = slot_of(chunk);
    const std::int64_t first_row = chunk * call_.chunk_rows;
    const std::int64_t rows = rows_of(chunk);
    RMSNORM_TRY(upload(call_.chunk_arrays, slot.buffers, first_row, rows, slot.stream));
    RMSNORM_TRY(call_.launch({first_row, rows, resources_.call_buffers.device.get(),
                              slot.buffers.device.get(), slot.stream.get()}));
    return download(call_.chunk_arrays, slot.buffers, rows, slot.stream);
  }

  Status take_results(std::int64_t chunk) {
    Slot& slot = slot_of(chunk);
    RMSNORM_TRY(slot.stream.synchronize());
    return unpack_rows(call_.chunk_arrays, slot.buffers, chunk * call_.chunk_rows, rows_of(chunk));
  }

  // Enqueues after_chunks on the first stream, which first waits for the other streams. Then
  // enqueues the download of the arrays of the whole call.
  Status end() {
    if (!call_.after_chunks) return {};
    for (int i = 1; i < slots_; ++i) {
      const Slot& slot = resources_.slots[i];
      RMSNORM_TRY(slot.stream.record(slot.done));
      RMSNORM_TRY(first().stream.wait(slot.done));
    }
    RMSNORM_TRY(call_.after_chunks(
        {0, call_.rows, resources_.call_buffers.device.get(), 0, first().stream.get()}));
    return download(call_.call_arrays, resources_.call_buffers, 1, first().stream);
  }

  const StagedCall& call_;
  Staging::Resources& resources_;
  const std::int64_t chunks_;
  const int slots_;
};

// One Staging for each device.
using StagingOfDevices = std::map<Device*, std::unique_ptr<Staging>>;
std::mutex all_mutex;
StagingOfDevices& all_staging() {
  static NeverDestroyed<StagingOfDevices> instance;
  return instance.value;
}

Staging& staging_of(Device& device) {
  const std::lock_guard lock(all_mutex);
  std::unique_ptr<Staging>& staging = all_staging()[&device];
  if (staging == nullptr) staging = std::make_unique<Staging>();
  return *staging;
}

}  // namespace

Status chunk_bytes(std::int64_t* bytes) {
  *bytes = kChunkBytes;
  const auto text = environment_variable("RMSNORM_CUDA_CHUNK_BYTES");
  if (!text) return {};
  char* end = nullptr;
  *bytes = std::strtoll(text->c_str(), &end, 10);
  if (*end == '\0' && *bytes >= 1) return {};
  return {Code::kInvalidEnvironment,
          "The environment variable RMSNORM_CUDA_CHUNK_BYTES must be an integer >= 1. "
          "Received '" +
              *text + "'"};
}

Status run_staged(Device& device, const StagedCall& call) {
  Staging& staging = staging_of(device);
  const std::lock_guard lock(staging.mutex);
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  // Resources that are not put back are destroyed within the scope, after the work in flight has
  // run.
  auto resources = std::move(staging.resources);
  if (resources == nullptr) resources = std::make_shared<Staging::Resources>();
  RMSNORM_TRY(Run(call, *resources).run());
  if (resources->cached_bytes() <= kMaxCachedBytes) staging.resources = std::move(resources);
  return {};
}

void release_staging() {
  const std::lock_guard lock(all_mutex);
  for (const auto& [device, staging] : all_staging()) {
    const std::unique_lock idle(staging->mutex, std::try_to_lock);
    if (!idle.owns_lock() || staging->resources == nullptr) continue;
    device->destroy(std::move(staging->resources));
  }
}

}  // namespace rmsnorm::cuda
