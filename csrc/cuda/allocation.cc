#include "allocation.h"

#include <mutex>
#include <new>
#include <string>

namespace rmsnorm::cuda {
namespace {

using OwnedPtr = std::unique_ptr<OwnedMemory>;

// Memory that waits for its work, of all devices; never destroyed: threads of an ending process may
// still be inside.
std::mutex retired_mutex;
OwnedPtr& all_retired() {
  static auto& instance = *new OwnedPtr;
  return instance;
}

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

void retire(OwnedPtr memory) {
  const std::lock_guard lock(retired_mutex);
  push(all_retired(), std::move(memory));
}

// Whether this thread may use the device now, as long as the scope lives. An error's message may
// find no memory.
bool enter(DeviceScope& scope, Device& device) noexcept {
  try {
    return scope.enter(device).ok();
  } catch (const std::bad_alloc&) {
    return false;
  }
}

// Asks the queue for a mark. Without memory for one, waits for the queue.
void make_mark(Use& use) noexcept {
  if (use.queue == nullptr) return;
  try {
    use.mark = use.queue->mark(use.enqueued);
  } catch (const std::bad_alloc&) {
    DeviceScope scope;
    use.mark = nullptr;
    if (enter(scope, use.queue->device())) driver().cuStreamSynchronize(use.queue->stream());
  }
}

bool has_passed(Use& use) noexcept {
  make_mark(use);
  try {
    return use.mark == nullptr || use.mark->has_passed();
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void wait(Device& device, Use& use) noexcept {
  make_mark(use);
  try {
    if (use.mark != nullptr) use.mark->wait();
  } catch (const std::bad_alloc&) {
    DeviceScope scope;
    if (enter(scope, device)) driver().cuCtxSynchronize();
  }
}

bool has_passed(OwnedMemory& memory) {
  for (Use& use : memory.uses) {
    if (!has_passed(use)) return false;
  }
  return true;
}

// Takes the memory of a device off the list: what has passed, or all.
OwnedPtr take_retired(Device& device, bool must_have_passed) {
  const std::lock_guard lock(retired_mutex);
  OwnedPtr taken;
  OwnedPtr left;
  while (all_retired() != nullptr) {
    OwnedPtr memory = pop(all_retired());
    const bool is_taken = &memory->device == &device && (!must_have_passed || has_passed(*memory));
    push(is_taken ? taken : left, std::move(memory));
  }
  all_retired() = std::move(left);
  return taken;
}

// Within a DeviceScope, and without the lock, since freeing may wait for the device.
void free_list(OwnedPtr list) {
  while (list != nullptr) {
    const OwnedPtr memory = pop(list);
    for (Use& use : memory->uses) wait(memory->device, use);
  }
}

void wait_for_retired(Device& device) {
  DeviceScope scope;
  if (enter(scope, device)) free_list(take_retired(device, false));
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

Status Allocation::on_device(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->own_nothing_yet();
  DeviceMemory& memory = made->owned_->on_device;
  RMSNORM_TRY(with_room(device, [&] { return memory.allocate(bytes); }));
  made->pointer_ = memory.get();
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

Status Allocation::on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->own_nothing_yet();
  PinnedMemory& memory = made->owned_->on_host;
  RMSNORM_TRY(with_room(device, [&] { return memory.allocate(bytes); }));
  made->host_ = memory.get();
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

Status Allocation::foreign(Device& device, CUdeviceptr pointer, std::int64_t bytes,
                           AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->uses_.reserve(1);
  made->pointer_ = pointer;
  made->bytes_ = bytes;
  if (bytes > 0) RMSNORM_TRY(made->check_foreign());
  *allocation = std::move(made);
  return {};
}

Status Allocation::check_foreign() const {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const std::string name = "'cuda:" + std::to_string(device_.properties().ordinal) + "'";
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
  RMSNORM_TRY(device_.note_fault(check(found, "cuPointerGetAttribute")));
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuPointerGetAttribute, &ordinal,
                                              CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer_)));
  if (ordinal != device_.properties().ordinal) {
    return refuse("the address of memory of " + name +
                  ". It is memory of 'cuda:" + std::to_string(ordinal) + "'");
  }
  CUdeviceptr base = 0;
  std::size_t size = 0;
  RMSNORM_TRY(device_.note_fault(RMSNORM_CUDA(cuMemGetAddressRange_v2, &base, &size, pointer_)));
  const std::size_t left = size - static_cast<std::size_t>(pointer_ - base);
  if (static_cast<std::size_t>(bytes_) > left) {
    return refuse("the address of " + std::to_string(bytes_) + " bytes at least. There are " +
                  std::to_string(left));
  }
  return {};
}

// All memory that the destructor and noting a use need.
void Allocation::own_nothing_yet() {
  owned_ = std::make_unique<OwnedMemory>(device_);
  uses_.reserve(1);
}

Allocation::~Allocation() {
  if (owned_ == nullptr) return;
  drop_passed_uses();
  DeviceScope scope;
  if (uses_.empty() && enter(scope, device_)) {
    owned_.reset();
  } else {
    for (Use& use : uses_) use.queue.reset();  // it belongs to this thread
    owned_->uses = std::move(uses_);
    retire(std::move(owned_));
  }
  free_retired(device_);
}

void Allocation::use_on(const QueuePtr& queue, std::uint64_t enqueued) noexcept {
  for (Use& use : uses_) {
    if (use.queue != queue) continue;
    use.enqueued = enqueued;
    return;
  }
  add_use({queue, enqueued, nullptr});
}

void Allocation::use_until(std::shared_ptr<Mark> mark) noexcept {
  if (mark != nullptr) add_use({nullptr, 0, std::move(mark)});
}

// Without memory for one more, the oldest use is waited for, and makes room.
void Allocation::add_use(Use use) noexcept {
  if (uses_.size() == uses_.capacity()) {
    drop_passed_uses();
    try {
      uses_.reserve(2 * uses_.size() + 1);
    } catch (const std::bad_alloc&) {
      if (uses_.size() == uses_.capacity()) {
        wait(device_, uses_.front());
        uses_.erase(uses_.begin());
      }
    }
  }
  uses_.push_back(std::move(use));
}

void Allocation::drop_passed_uses() noexcept {
  std::erase_if(uses_, [](Use& use) { return has_passed(use); });
}

// Keeps the context, too, which would take the memory along when it ends.
void Allocation::leave_to_process() {
  if (owned_ == nullptr) return;
  CUdevice handle = 0;
  CUcontext context = nullptr;
  if (driver().cuDeviceGet(&handle, device_.properties().ordinal) == CUDA_SUCCESS) {
    driver().cuDevicePrimaryCtxRetain(&context, handle);
  }
  static_cast<void>(owned_.release());
}

bool Allocation::is_idle() {
  drop_passed_uses();
  return uses_.empty();
}

void Allocation::wait_until_idle() {
  for (Use& use : uses_) wait(device_, use);
  uses_.clear();
}

void free_retired(Device& device) noexcept {
  DeviceScope scope;
  if (enter(scope, device)) free_list(take_retired(device, true));
}

void drain_retired() noexcept {
  // A call of the driver that fails once may work the next time, and there is no later time.
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    OwnedPtr list;
    {
      const std::lock_guard lock(retired_mutex);
      list = std::move(all_retired());
    }
    while (list != nullptr) {
      OwnedPtr memory = pop(list);
      DeviceScope scope;
      if (enter(scope, memory->device)) {
        free_list(std::move(memory));
      } else {
        retire(std::move(memory));
      }
    }
  }
}

}  // namespace rmsnorm::cuda
