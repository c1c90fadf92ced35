#include "stream_order.h"

#include <new>
#include <utility>

namespace rmsnorm::cuda {

void StreamOrder::note_passed(std::uint64_t enqueued) noexcept {
  std::uint64_t known = passed_;
  while (known < enqueued && !passed_.compare_exchange_weak(known, enqueued)) {
  }
}

bool StreamOrder::fence(std::uint64_t enqueued, std::shared_ptr<Fence>* fence) noexcept {
  const std::lock_guard lock(mutex_);
  if (enqueued > fenced_) {
    DeviceScope scope;
    if (!is_open_ || !scope.try_enter(device_)) return false;
    try {
      auto made = std::make_shared<Fence>(device_);
      if (!made->make().ok()) return false;
      made->record(handle_);
      if (!made->is_recorded()) return false;
      last_ = std::move(made);
      fenced_ = enqueued;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  *fence = last_;
  return true;
}

void StreamOrder::close(std::uint64_t enqueued, std::shared_ptr<Fence> last) noexcept {
  const std::lock_guard lock(mutex_);
  is_open_ = false;
  fenced_ = enqueued;
  last_ = std::move(last);
}

void StreamOrder::open() noexcept {
  const std::lock_guard lock(mutex_);
  is_open_ = true;
}

}  // namespace rmsnorm::cuda
