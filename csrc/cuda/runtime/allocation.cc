#include "allocation.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <string>

#include "../../os/never_destroyed.h"

namespace rmsnorm::cuda {
namespace {

using OwnedPtr = std::unique_ptr<OwnedMemory>;

// Memory that waits for its work, of all devices.
std::mutex retired_mutex;
NeverDestroyed<OwnedPtr> all_retired;

// Takes the first of a list off it.
OwnedPtr pop(OwnedPtr& list) {
  OwnedPtr first = std::move(list);
  list = std::move(first->next);
  return first;
}

void push(OwnedPtr& list, OwnedPtr first) {
  first->next = std::move(list);
  list = std::move(first);
}

void retire(OwnedPtr memory) noexcept {
  const std::lock_guard lock(retired_mutex);
  push(all_retired.value, std::move(memory));
}

// Asks the stream, which belongs to this thread, for a fence.
void make_fence(Use& use) noexcept {
  if (use.stream != nullptr) use.fence = use.stream->fence(use.enqueued);
}

bool has_passed(Use& use) noexcept {
  make_fence(use);
  return use.fence == nullptr || use.fence->has_passed();
}

// Waits, if that is possible; returns whether it has passed.
bool wait(Use& use) noexcept {
  make_fence(use);
  return use.fence == nullptr || use.fence->wait();
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

// Takes memory off the list: of a device, or of any if that is null; what has passed, or all.
OwnedPtr take_retired(const Device* device, bool must_have_passed) noexcept {
  const std::lock_guard lock(retired_mutex);
  OwnedPtr taken;
  OwnedPtr list = std::move(all_retired.value);
  while (list != nullptr) {
    OwnedPtr memory = pop(list);
    const bool is_taken = (device == nullptr || &memory->device == device) &&
                          (!must_have_passed || has_passed(*memory));
    push(is_taken ? taken : all_retired.value, std::move(memory));
  }
  return taken;
}

// Frees memory that has passed; what cannot be freed now is retired again. Without the lock, since
// freeing may wait for the device.
void free_list(OwnedPtr list) noexcept {
  while (list != nullptr) {
    OwnedPtr memory = pop(list);
    DeviceScope scope;
    if (scope.try_enter(memory->device)) {
      memory.reset();
    } else {
      retire(std::move(memory));
    }
  }
}

void wait_for_retired(Device& device) noexcept {
  for (OwnedPtr list = take_retired(&device, false); list != nullptr;) {
    OwnedPtr memory = pop(list);
    wait(*memory);
    retire(std::move(memory));
  }
  free_retired(device);
}

// Leaves memory that may be in use to the end of the process, and the context, which would take it
// along.
void leave_to_process(Device& device, OwnedPtr memory) noexcept {
  device.keep_context();
  static_cast<void>(memory.release());
}

// Calls allocate() again when retired memory has made room, if there was none.
template <class Allocate>
Status with_room(Device& device, const Allocate& allocate) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  free_retired(device);
  const Status status = allocate();
  if (status.driver_error().number != CUDA_ERROR_OUT_OF_MEMORY) return device.note_fault(status);
  wait_for_retired(device);
  return device.note_fault(allocate());
}

}  // namespace

// Makes all memory first that the destructor and noting a use need.
template <class Memory>
Status Allocation::make(Device& device, std::int64_t bytes, Memory OwnedMemory::*memory,
                        AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->owned_ = std::make_unique<OwnedMemory>(device);
  made->uses_.reserve(1);
  OwnedMemory& owned = *made->owned_;
  RMSNORM_TRY(with_room(device, [&] { return (owned.*memory).allocate(bytes); }));
  made->pointer_ = owned.on_device.get();
  made->host_ = static_cast<char*>(owned.on_host.get());
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

Status Allocation::on_device(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  return make(device, bytes, &OwnedMemory::on_device, allocation);
}

Status Allocation::on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  return make(device, bytes, &OwnedMemory::on_host, allocation);
}

Status Allocation::foreign(Device& device, CUdeviceptr pointer, std::int64_t bytes,
                           AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->uses_.reserve(1);
  made->pointer_ = pointer;
  made->bytes_ = bytes;
  if (bytes > 0) RMSNORM_TRY(device.note_fault(made->check_foreign()));
  *allocation = std::move(made);
  return {};
}

Status Allocation::check_foreign() const {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const auto refuse = [&](const std::string& expected) {
    return Status(Code::kInvalidValue, "The argument 'pointer' must be " + expected);
  };
  unsigned kind = 0;
  int ordinal = -1;
  const CUresult found =
      driver().cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer_);
  if (found == CUDA_ERROR_INVALID_VALUE ||
      (found == CUDA_SUCCESS && kind != CU_MEMORYTYPE_DEVICE)) {
    return refuse("the address of memory of a CUDA device");
  }
  RMSNORM_TRY(check(found, "cuPointerGetAttribute"));
  RMSNORM_TRY(
      RMSNORM_CUDA(cuPointerGetAttribute, &ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer_));
  if (ordinal != device_.properties().ordinal) {
    return refuse("the address of memory of " + device_.name() + ". It is memory of " +
                  device_name(ordinal));
  }
  CUdeviceptr base = 0;
  std::size_t size = 0;
  RMSNORM_TRY(RMSNORM_CUDA(cuMemGetAddressRange_v2, &base, &size, pointer_));
  const std::size_t left = size - static_cast<std::size_t>(pointer_ - base);
  if (static_cast<std::size_t>(bytes_) > left) {
    return refuse("the address of " + std::to_string(bytes_) + " bytes at least. There are " +
                  std::to_string(left));
  }
  return {};
}

Allocation::~Allocation() {
  if (owned_ == nullptr) return;
  drop_passed_uses();
  for (Use& use : uses_) use.stream.reset();  // it belongs to this thread
  owned_->uses = std::move(uses_);
  if (owned_->uses.empty()) {
    free_list(std::move(owned_));
  } else {
    retire(std::move(owned_));
  }
  free_retired(device_);
}

void Allocation::use_on(const StreamPtr& stream, std::uint64_t enqueued) noexcept {
  for (Use& use : uses_) {
    if (use.stream != stream) continue;
    use.enqueued = enqueued;
    return;
  }
  add_use({stream, enqueued, nullptr});
}

void Allocation::use_until(std::shared_ptr<Fence> fence) noexcept {
  if (fence != nullptr) add_use({nullptr, 0, std::move(fence)});
}

// Without memory for one more, the oldest use is waited for, and makes room.
void Allocation::add_use(Use use) noexcept {
  if (uses_.size() == uses_.capacity()) {
    drop_passed_uses();
    try {
      uses_.reserve(2 * uses_.size() + 1);
    } catch (const std::bad_alloc&) {
      if (uses_.size() == uses_.capacity()) {
        if (!wait(uses_.front())) leave_to_process();
        uses_.erase(uses_.begin());
      }
    }
  }
  uses_.push_back(std::move(use));
}

void Allocation::drop_passed_uses() noexcept {
  std::erase_if(uses_, [](Use& use) { return has_passed(use); });
}

void Allocation::leave_to_process() noexcept {
  if (owned_ != nullptr) cuda::leave_to_process(device_, std::move(owned_));
}

bool Allocation::is_idle() noexcept {
  drop_passed_uses();
  return uses_.empty();
}

bool Allocation::wait_until_idle() noexcept {
  for (Use& use : uses_) wait(use);
  return is_idle();
}

void free_retired(Device& device) noexcept { free_list(take_retired(&device, true)); }

void free_retired() noexcept { free_list(take_retired(nullptr, true)); }

void drain_retired() noexcept {
  for (OwnedPtr list = take_retired(nullptr, false); list != nullptr;) {
    OwnedPtr memory = pop(list);
    Device& device = memory->device;
    try {
      if (wait(*memory)) device.destroy(std::shared_ptr<OwnedMemory>(std::move(memory)));
    } catch (const std::bad_alloc&) {
      // The memory is still ours.
    }
    if (memory != nullptr) leave_to_process(device, std::move(memory));
  }
}

}  // namespace rmsnorm::cuda
