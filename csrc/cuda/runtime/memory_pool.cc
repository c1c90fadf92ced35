#include "memory_pool.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "../../op/fold.h"
#include "../../os/never_destroyed.h"

namespace rmsnorm::cuda {
namespace {

// Bounds of a device's pool. It holds at most an eighth (1 / kPoolShare) of the device's memory,
// because other libraries cannot reclaim that from us. It holds at most kMaxPooledBlocks blocks, so
// that a search through all of them costs less than the driver call that it saves.
constexpr std::int64_t kPoolShare = 8;
constexpr std::int64_t kMaxPooledBlocks = 256;

// The driver allocates in multiples of this many bytes.
constexpr std::int64_t kDriverGranularity = 512;

// Requests below this are not rounded up (OwnedMemory::rounded()).
constexpr std::int64_t kMinRoundedBytes = 1 << 20;

// After it has found this many blocks that are still in use, free_surplus() leaves the others for
// the next call: work completes roughly in the order in which it was enqueued.
constexpr int kMaxBusyBlocks = 8;

// Released memory of all devices, the oldest first.
class RetiredList {
 public:
  void push(OwnedPtr memory) noexcept {
    OwnedMemory* const last = memory.get();
    (last_ == nullptr ? first_ : last_->next) = std::move(memory);
    last_ = last;
  }

  // Removes and returns the memory for which take(memory) is true, in list order.
  template <class Take>
  OwnedPtr take_if(const Take& take) noexcept {
    RetiredList taken;
    RetiredList left;
    while (first_ != nullptr) {
      OwnedPtr memory = pop(first_);
      (take(*memory) ? taken : left).push(std::move(memory));
    }
    first_ = std::move(left.first_);
    last_ = left.last_;
    return std::move(taken.first_);
  }

  template <class Visit>
  void for_each(const Visit& visit) {
    for (OwnedMemory* memory = first_.get(); memory != nullptr; memory = memory->next.get()) {
      visit(*memory);
    }
  }

  // Removes and returns the first element of a list.
  static OwnedPtr pop(OwnedPtr& list) noexcept {
    OwnedPtr first = std::move(list);
    list = std::move(first->next);
    return first;
  }

 private:
  OwnedPtr first_;
  OwnedMemory* last_ = nullptr;
};

std::mutex retired_mutex;
NeverDestroyed<RetiredList> retired;

// Gets a fence from the stream, which belongs to this thread, or from the order if the stream is
// null. False if no fence can be made now.
bool make_fence(Use& use) noexcept {
  if (use.is_fenced) return true;
  if (use.stream == nullptr) return use.is_fenced = use.order->fence(use.enqueued, &use.fence);
  use.fence = use.stream->fence(use.enqueued);
  return true;
}

template <class Check>
bool has_passed(Use& use, const Check& check) noexcept {
  if (use.order != nullptr && use.order->has_passed(use.enqueued)) return true;
  if (!make_fence(use)) return false;
  if (use.fence != nullptr && !check(*use.fence)) return false;
  if (use.order != nullptr) use.order->note_passed(use.enqueued);
  return true;
}

bool has_passed(OwnedMemory& memory) noexcept {
  return std::all_of(memory.uses.begin(), memory.uses.end(),
                     [](Use& use) { return has_passed(use); });
}

bool wait(OwnedMemory& memory) noexcept {
  bool has_passed = true;
  for (Use& use : memory.uses) has_passed = wait(use) && has_passed;
  return has_passed;
}

bool is_used_only_by(const OwnedMemory& memory, const StreamOrder* order) noexcept {
  return std::all_of(memory.uses.begin(), memory.uses.end(),
                     [&](const Use& use) { return use.order.get() == order; });
}

// Frees memory whose work has run. Memory that cannot be freed now returns to the pool. Call it
// without holding retired_mutex, because freeing may wait for the device.
void free_list(OwnedPtr list) noexcept {
  while (list != nullptr) {
    OwnedPtr memory = RetiredList::pop(list);
    DeviceScope scope;
    if (scope.try_enter(memory->device)) {
      memory.reset();
    } else {
      const std::lock_guard lock(retired_mutex);
      retired.value.push(std::move(memory));
    }
  }
}

// Takes all released memory of a device, or of every device if `device` is null.
OwnedPtr take_all(const Device* device) noexcept {
  const std::lock_guard lock(retired_mutex);
  return retired.value.take_if(
      [&](const OwnedMemory& memory) { return device == nullptr || &memory.device == device; });
}

// The bytes of device memory that count against the pool's bound.
std::int64_t size_in_pool(const OwnedMemory& memory) {
  return ceil_div(memory.on_device.bytes(), kDriverGranularity) * kDriverGranularity;
}

}  // namespace

bool has_passed(Use& use) noexcept {
  return has_passed(use, [](Fence& fence) { return fence.has_passed(); });
}

bool wait(Use& use) noexcept {
  return has_passed(use, [](Fence& fence) { return fence.wait(); });
}

std::int64_t OwnedMemory::rounded(std::int64_t bytes) {
  if (bytes < kMinRoundedBytes) return bytes;
  const std::int64_t step = bit_ceil(bytes) / 16;
  return ceil_div(bytes, step) * step;
}

void retire(OwnedPtr memory) noexcept {
  const std::lock_guard lock(retired_mutex);
  retired.value.push(std::move(memory));
}

OwnedPtr reuse(Device& device, std::int64_t bytes, const StreamOrder* order) noexcept {
  const std::int64_t max_bytes = bytes + std::max(bytes / 8, kDriverGranularity);
  OwnedMemory* best = nullptr;
  const std::lock_guard lock(retired_mutex);
  retired.value.for_each([&](OwnedMemory& memory) {
    if (&memory.device != &device || memory.on_device.bytes() < bytes ||
        memory.on_device.bytes() > max_bytes) {
      return;
    }
    // Prefers the memory that the stream used last, which is the likeliest to be in the device's
    // cache. Otherwise takes the oldest, whose work is the likeliest to have run.
    if ((order != nullptr && is_used_only_by(memory, order)) || best == nullptr) best = &memory;
  });
  if (best == nullptr) return nullptr;
  OwnedPtr taken =
      retired.value.take_if([&](const OwnedMemory& memory) { return &memory == best; });
  if (order != nullptr && is_used_only_by(*taken, order)) return taken;
  if (has_passed(*taken)) {
    taken->uses.clear();
    return taken;
  }
  retired.value.push(std::move(taken));  // at the end: the next call tries another first
  return nullptr;
}

void free_surplus(Device& device) noexcept {
  OwnedPtr surplus;
  {
    const std::lock_guard lock(retired_mutex);
    std::int64_t bytes = 0;
    std::int64_t blocks = 0;
    bool has_host_memory = false;
    retired.value.for_each([&](const OwnedMemory& memory) {
      if (&memory.device != &device) return;
      blocks += memory.is_on_device();
      bytes += size_in_pool(memory);
      has_host_memory = has_host_memory || !memory.is_on_device();
    });
    const std::int64_t max_bytes = device.properties().total_memory / kPoolShare;
    const auto is_too_much = [&] { return bytes > max_bytes || blocks > kMaxPooledBlocks; };
    if (!has_host_memory && !is_too_much()) return;
    int busy_blocks = 0;
    surplus = retired.value.take_if([&](OwnedMemory& memory) {
      if (&memory.device != &device || busy_blocks == kMaxBusyBlocks) return false;
      if (memory.is_on_device() && !is_too_much()) return false;
      if (!has_passed(memory)) {
        ++busy_blocks;
        return false;
      }
      blocks -= memory.is_on_device();
      bytes -= size_in_pool(memory);
      return true;
    });
  }
  free_list(std::move(surplus));
}

void empty_pool() noexcept {
  OwnedPtr passed;
  {
    const std::lock_guard lock(retired_mutex);
    passed = retired.value.take_if([](OwnedMemory& memory) { return has_passed(memory); });
  }
  free_list(std::move(passed));
}

void wait_for_retired(Device& device) noexcept {
  OwnedPtr passed;
  for (OwnedPtr list = take_all(&device); list != nullptr;) {
    OwnedPtr memory = RetiredList::pop(list);
    if (wait(*memory)) {
      memory->next = std::move(passed);
      passed = std::move(memory);
    } else {
      retire(std::move(memory));
    }
  }
  free_list(std::move(passed));
}

void drain_retired() noexcept {
  for (OwnedPtr list = take_all(nullptr); list != nullptr;) {
    OwnedPtr memory = RetiredList::pop(list);
    Device& device = memory->device;
    try {
      if (wait(*memory)) device.destroy(std::shared_ptr<OwnedMemory>(std::move(memory)));
    } catch (const std::bad_alloc&) {
      // The shared_ptr could not be made, so `memory` is still the owner.
    }
    if (memory != nullptr) keep_until_exit(std::move(memory));
  }
}

void keep_until_exit(OwnedPtr memory) noexcept {
  memory->device.keep_context();
  static_cast<void>(memory.release());
}

}  // namespace rmsnorm::cuda
