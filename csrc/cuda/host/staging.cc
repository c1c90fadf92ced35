#include "staging.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "../../cpu/schedule.h"
#include "../../cpu/thread_pool.h"
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

  // Makes room for the arrays, and for `device_bytes` on the device. What there is stays if it
  // suffices: calls of growing sizes would allocate anew each time, which takes as long as copying
  // megabytes does. So does a power of two where that wastes little.
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

 private:
  template <class Memory>
  static Status reserve_in(Memory& memory, std::int64_t bytes) {
    if (memory.bytes() >= bytes) return {};
    return memory.allocate(bytes <= 2 * kChunkBytes ? bit_ceil(bytes) : bytes);
  }
};

struct Slot {
  StreamHandle stream;
  EventHandle done;  // recorded where another stream waits for this one
  Buffers buffers;
};

// What calls on one device share.
struct Staging {
  std::mutex mutex;
  struct Resources {
    Slot slots[kChunksInFlight];
    Buffers whole;  // of the whole call

    std::int64_t cached_bytes() const {
      std::int64_t on_device = whole.device.bytes(), on_host = whole.pinned.bytes();
      for (const Slot& slot : slots) {
        on_device += slot.buffers.device.bytes();
        on_host += slot.buffers.pinned.bytes();
      }
      return std::max(on_device, on_host);
    }
  };
  std::shared_ptr<Resources> resources;  // null until the first call, and after one that failed
};

// Calls copy(packed, strided, bytes) with offsets in bytes, for all of `rows` rows of an array from
// first_row on: where they are packed, and where they are on the host.
template <class Copy>
Status copy_rows(const StagedArray& array, std::int64_t first_row, std::int64_t rows,
                 const Copy& copy) {
  int available = 1;
  RMSNORM_TRY(cpu::thread_count(&available));
  const std::int64_t bytes = rows * array.row_bytes;
  const int threads = cpu::threads_for(bytes, available);
  const std::int64_t first_byte = row_offset(array, first_row);
  const bool is_packed = array.batch_rows == kOneBatch && array.row_stride == array.row_bytes;
  if (rows == 1 || is_packed) {
    cpu::parallel_for(bytes, cpu::kBytesPerThread, threads,
                      [&](std::int64_t begin, std::int64_t end, int) {
                        copy(begin, first_byte + begin, static_cast<std::size_t>(end - begin));
                      });
    return {};
  }
  cpu::parallel_for(rows, std::max<std::int64_t>(cpu::kBytesPerThread / array.row_bytes, 1),
                    threads, [&](std::int64_t begin, std::int64_t end, int) {
                      for (std::int64_t r = begin; r < end; ++r) {
                        copy(r * array.row_bytes, row_offset(array, first_row + r),
                             static_cast<std::size_t>(array.row_bytes));
                      }
                    });
  return {};
}

enum class Direction { kUpload, kDownload };

// Copies rows between the host's arrays, those that go this way, and page-locked memory.
Status pack(Direction direction, std::span<const StagedArray> arrays, const Buffers& buffers,
            std::int64_t first_row, std::int64_t rows) {
  for (const StagedArray& array : arrays) {
    const bool is_upload = direction == Direction::kUpload;
    if ((is_upload ? array.source : array.destination) == nullptr) continue;
    char* const pinned = static_cast<char*>(buffers.pinned.get()) + array.offset;
    const auto copy = [&](std::int64_t packed, std::int64_t strided, std::size_t bytes) {
      if (is_upload) {
        std::memcpy(pinned + packed, static_cast<const char*>(array.source) + strided, bytes);
      } else {
        std::memcpy(static_cast<char*>(array.destination) + strided, pinned + packed, bytes);
      }
    };
    RMSNORM_TRY(copy_rows(array, first_row, rows, copy));
  }
  return {};
}

// Enqueues copies of these arrays between page-locked memory and the device.
Status transfer(Direction direction, std::span<const StagedArray> arrays, const Buffers& buffers,
                std::int64_t rows, const StreamHandle& stream) {
  for (const StagedArray& array : arrays) {
    const bool is_upload = direction == Direction::kUpload;
    if ((is_upload ? array.source : array.destination) == nullptr) continue;
    char* const pinned = static_cast<char*>(buffers.pinned.get()) + array.offset;
    const CUdeviceptr device = buffers.device.get() + static_cast<CUdeviceptr>(array.offset);
    const std::int64_t bytes = rows * array.row_bytes;
    RMSNORM_TRY(is_upload ? copy_to_device(device, pinned, bytes, stream)
                          : copy_to_host(pinned, device, bytes, stream));
  }
  return {};
}

// One call on its way.
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
    return pack(Direction::kDownload, call_.whole, resources_.whole, 0, 1);
  }

 private:
  Slot& first() { return resources_.slots[0]; }
  Slot& slot_of(std::int64_t chunk) { return resources_.slots[chunk % slots_]; }
  std::int64_t rows_of(std::int64_t chunk) const {
    return std::min(call_.chunk_rows, call_.rows - chunk * call_.chunk_rows);
  }

  Status prepare() {
    RMSNORM_TRY(resources_.whole.reserve(call_.whole_bytes, call_.whole, 1));
    for (int i = 0; i < slots_; ++i) {
      Slot& slot = resources_.slots[i];
      if (!slot.stream.is_made()) RMSNORM_TRY(slot.stream.make());
      if (!slot.done.is_made()) RMSNORM_TRY(slot.done.make());
      if (chunks_ == 0) continue;
      RMSNORM_TRY(slot.buffers.reserve(call_.chunk_bytes, call_.chunked, rows_of(0)));
    }
    return {};
  }

  // Uploads what all chunks need, on the first stream; the others wait for it.
  Status begin() {
    RMSNORM_TRY(pack(Direction::kUpload, call_.whole, resources_.whole, 0, 1));
    RMSNORM_TRY(transfer(Direction::kUpload, call_.whole, resources_.whole, 1, first().stream));
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
    RMSNORM_TRY(pack(Direction::kUpload, call_.chunked, slot.buffers, first_row, rows));
    RMSNORM_TRY(transfer(Direction::kUpload, call_.chunked, slot.buffers, rows, slot.stream));
    RMSNORM_TRY(call_.launch({first_row, rows, resources_.whole.device.get(),
                              slot.buffers.device.get(), slot.stream.get()}));
    return transfer(Direction::kDownload, call_.chunked, slot.buffers, rows, slot.stream);
  }

  Status take_results(std::int64_t chunk) {
    Slot& slot = slot_of(chunk);
    RMSNORM_TRY(slot.stream.synchronize());
    return pack(Direction::kDownload, call_.chunked, slot.buffers, chunk * call_.chunk_rows,
                rows_of(chunk));
  }

  // The end of the call, on the first stream, which waits for the others.
  Status end() {
    if (!call_.finish) return {};
    for (int i = 1; i < slots_; ++i) {
      const Slot& slot = resources_.slots[i];
      RMSNORM_TRY(slot.stream.record(slot.done));
      RMSNORM_TRY(first().stream.wait(slot.done));
    }
    RMSNORM_TRY(
        call_.finish({0, call_.rows, resources_.whole.device.get(), 0, first().stream.get()}));
    return transfer(Direction::kDownload, call_.whole, resources_.whole, 1, first().stream);
  }

  const StagedCall& call_;
  Staging::Resources& resources_;
  const std::int64_t chunks_;
  const int slots_;
};

// One for each device.
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

// Waits for all that is in flight. Errors are ignored here: they were already reported.
void drain(const Staging::Resources& resources) noexcept {
  for (const Slot& slot : resources.slots) {
    if (slot.stream.is_made()) driver().cuStreamSynchronize(slot.stream.get());
  }
}

// Within a DeviceScope. After a failure nothing of the call is in flight any more.
Status run_within(Staging& staging, const StagedCall& call) {
  const auto clear = [&] {
    drain(*staging.resources);
    staging.resources.reset();
  };
  Status status;
  try {
    status = Run(call, *staging.resources).run();
  } catch (const std::bad_alloc&) {
    clear();
    throw;
  }
  if (!status.ok()) {
    clear();
  } else if (staging.resources->cached_bytes() > kMaxCachedBytes) {
    staging.resources.reset();
  }
  return status;
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
          "The environment variable RMSNORM_CUDA_CHUNK_BYTES must be a whole number from 1 up. "
          "Received '" +
              *text + "'"};
}

Status run_staged(Device& device, const StagedCall& call) {
  Staging& staging = staging_of(device);
  const std::lock_guard lock(staging.mutex);
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  if (staging.resources == nullptr) staging.resources = std::make_shared<Staging::Resources>();
  return run_within(staging, call);
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
