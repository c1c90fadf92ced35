#include "allocation.h"

#include <algorithm>
#include <new>
#include <string>

namespace rmsnorm::cuda {
namespace {

bool is_out_of_memory(const Status& status) {
  return status.driver_error().number == CUDA_ERROR_OUT_OF_MEMORY;
}

Status refuse_foreign(const std::string& expected) {
  return {Code::kInvalidValue, "The argument 'pointer' must be " + expected};
}

// Calls allocate(). If there is no room, frees released memory, after waiting for its work, and
// calls allocate() again.
template <class Allocate>
Status with_room(Device& device, const Allocate& allocate) {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device));
  free_surplus(device);
  const Status status = allocate();
  if (!is_out_of_memory(status)) return device.note_fault(status);
  wait_for_retired(device);
  return device.note_fault(allocate());
}

}  // namespace

// Makes the OwnedMemory before it allocates: ~Allocation() puts that object into the pool and must
// not need memory to do so.
template <class Memory>
Status Allocation::allocate(std::int64_t bytes, Memory OwnedMemory::*memory) {
  auto made = std::make_unique<OwnedMemory>(device_);
  RMSNORM_TRY(with_room(device_, [&] { return ((*made).*memory).allocate(bytes); }));
  owned_ = std::move(made);
  return {};
}

// Takes memory from the pool, together with the stream's work that still uses it.
void Allocation::take(OwnedPtr memory, const StreamPtr& stream) {
  std::uint64_t enqueued = 0;
  for (const Use& use : memory->uses) enqueued = std::max(enqueued, use.enqueued);
  memory->uses.clear();
  owned_ = std::move(memory);
  if (enqueued > 0) use_on(stream, enqueued);
}

Status Allocation::on_device(Device& device, std::int64_t bytes, const StreamPtr& stream,
                             AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->uses_.reserve(1);
  if (bytes > 0) {
    const StreamOrder* const order = stream == nullptr ? nullptr : &stream->order();
    if (OwnedPtr pooled = reuse(device, bytes, order)) {
      made->take(std::move(pooled), stream);
    } else {
      const std::int64_t rounded = OwnedMemory::rounded(bytes);
      Status allocated = made->allocate(rounded, &OwnedMemory::on_device);
      if (is_out_of_memory(allocated) && rounded > bytes) {
        allocated = made->allocate(bytes, &OwnedMemory::on_device);
      }
      RMSNORM_TRY(allocated);
    }
    made->pointer_ = made->owned_->on_device.get();
  }
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

Status Allocation::on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->uses_.reserve(1);
  if (bytes > 0) {
    RMSNORM_TRY(made->allocate(bytes, &OwnedMemory::on_host));
    made->host_ = static_cast<char*>(made->owned_->on_host.get());
  }
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

std::int64_t Allocation::allocated_bytes() const {
  return owned_ == nullptr ? 0 : owned_->on_device.bytes() + owned_->on_host.bytes();
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

// For memory that was mapped in several chunks, the driver reports one range for each chunk, at
// consecutive addresses. Two allocations of cuMemAlloc may be adjacent, too, but then the second
// one does not belong to the first.
Status Allocation::check_foreign() const {
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(device_));
  const auto needed = static_cast<std::uint64_t>(bytes_);
  bool may_continue = true;
  for (std::uint64_t known = 0; known < needed;) {
    const CUdeviceptr pointer = pointer_ + known;
    unsigned kind = 0;
    const CUresult found =
        driver().cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer);
    const bool is_there = found == CUDA_SUCCESS && kind == CU_MEMORYTYPE_DEVICE && may_continue;
    if (found != CUDA_SUCCESS && found != CUDA_ERROR_INVALID_VALUE) {
      return check(found, "cuPointerGetAttribute");
    }
    if (!is_there && known == 0) return refuse_foreign("an address in the memory of a CUDA device");
    if (!is_there) {
      return refuse_foreign("the address of at least " + std::to_string(bytes_) + " bytes. Only " +
                            std::to_string(known) + " bytes are there");
    }
    int ordinal = -1;
    int is_ipc_capable = 0;
    CUdeviceptr base = 0;
    std::size_t size = 0;
    RMSNORM_TRY(RMSNORM_CUDA(cuPointerGetAttribute, &ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                             pointer));
    if (ordinal != device_.properties().ordinal) {
      return refuse_foreign("an address in the memory of " + device_.name() +
                            ". It is in the memory of " + device_name(ordinal));
    }
    RMSNORM_TRY(RMSNORM_CUDA(cuMemGetAddressRange_v2, &base, &size, pointer));
    known = base + size - pointer_;
    if (known >= needed) break;
    // The driver can share cuMemAlloc memory with other processes by its address (legacy IPC), but
    // not mapped chunks. So this attribute tells whether the range may continue in the next one.
    RMSNORM_TRY(RMSNORM_CUDA(cuPointerGetAttribute, &is_ipc_capable,
                             CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, pointer));
    may_continue = is_ipc_capable == 0;
  }
  return {};
}

// Makes no fence for a stream that is not shared: that stream can reuse the memory without a fence,
// and its StreamOrder can make one later.
Allocation::~Allocation() {
  if (owned_ == nullptr) return;
  for (Use& use : uses_) {
    if (use.stream == nullptr) continue;
    if (use.stream->is_shared()) {
      use.fence = use.stream->fence(use.enqueued);
      use.is_fenced = true;
    }
    use.stream.reset();  // a stream belongs to this thread, the pool to all threads
  }
  owned_->uses = std::move(uses_);
  retire(std::move(owned_));
  free_surplus(device_);
}

void Allocation::use_on(const StreamPtr& stream, std::uint64_t enqueued) noexcept {
  for (Use& use : uses_) {
    if (use.stream != stream) continue;
    use.enqueued = enqueued;
    return;
  }
  add_use({stream, stream->shared_order(), enqueued, nullptr, false});
}

void Allocation::use_until(std::shared_ptr<Fence> fence) noexcept {
  if (fence != nullptr) add_use({nullptr, nullptr, 0, std::move(fence), true});
}

// If the list cannot grow, waits for the oldest use and drops it to make room. If the wait fails,
// the memory is never freed.
void Allocation::add_use(Use use) noexcept {
  if (uses_.size() == uses_.capacity()) {
    drop_passed_uses();
    try {
      uses_.reserve(2 * uses_.size() + 1);
    } catch (const std::bad_alloc&) {
      if (uses_.size() == uses_.capacity()) {
        if (!wait(uses_.front())) keep_until_exit();
        uses_.erase(uses_.begin());
      }
    }
  }
  uses_.push_back(std::move(use));
}

void Allocation::drop_passed_uses() noexcept {
  std::erase_if(uses_, [](Use& use) { return has_passed(use); });
}

void Allocation::keep_until_exit() noexcept {
  if (owned_ != nullptr) cuda::keep_until_exit(std::move(owned_));
}

bool Allocation::is_idle() noexcept {
  drop_passed_uses();
  return uses_.empty();
}

bool Allocation::wait_until_idle() noexcept {
  for (Use& use : uses_) wait(use);
  return is_idle();
}

}  // namespace rmsnorm::cuda
