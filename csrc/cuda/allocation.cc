#include "allocation.h"

#include <algorithm>
#include <map>
#include <mutex>

namespace rmsnorm::cuda {
namespace {

// Memory that waits for its work.
struct Retired {
  std::unique_ptr<OwnedMemory> memory;
  std::vector<std::shared_ptr<Mark>> marks;
};

// Of each device; never destroyed: threads of an ending process may still be inside.
std::mutex all_mutex;
std::map<Device*, std::vector<Retired>>& all_retired() {
  static auto& instance = *new std::map<Device*, std::vector<Retired>>;
  return instance;
}

// Freeing may wait for the device, so it is done without the lock.
std::vector<Retired> take_retired(Device& device, bool has_passed) {
  const std::lock_guard lock(all_mutex);
  std::vector<Retired>& list = all_retired()[&device];
  const auto waits = [&](const Retired& retired) {
    return has_passed &&
           !std::all_of(retired.marks.begin(), retired.marks.end(),
                        [](const std::shared_ptr<Mark>& mark) { return mark->has_passed(); });
  };
  const auto first = std::stable_partition(list.begin(), list.end(), waits);
  std::vector<Retired> taken(std::make_move_iterator(first), std::make_move_iterator(list.end()));
  list.erase(first, list.end());
  return taken;
}

void wait_for_retired(Device& device) {
  DeviceScope scope;
  if (!scope.enter(device).ok()) return;
  for (Retired& retired : take_retired(device, false)) {
    for (const std::shared_ptr<Mark>& mark : retired.marks) mark->wait();
    retired.memory.reset();
  }
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
  made->owned_ = std::make_unique<OwnedMemory>();
  DeviceMemory& memory = made->owned_->on_device;
  RMSNORM_TRY(with_room(device, [&] { return memory.allocate(bytes); }));
  made->pointer_ = memory.get();
  made->bytes_ = bytes;
  *allocation = std::move(made);
  return {};
}

Status Allocation::on_host(Device& device, std::int64_t bytes, AllocationPtr* allocation) {
  auto made = std::make_shared<Allocation>(device);
  made->owned_ = std::make_unique<OwnedMemory>();
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

Allocation::~Allocation() {
  if (owned_ == nullptr) return;
  std::vector<std::shared_ptr<Mark>> marks = this->marks();
  DeviceScope scope;
  if (!scope.enter(device_).ok()) return;
  if (marks.empty()) {
    owned_.reset();
  } else {
    const std::lock_guard lock(all_mutex);
    all_retired()[&device_].push_back({std::move(owned_), std::move(marks)});
  }
  free_retired(device_);
}

void Allocation::use_on(const QueuePtr& queue, std::uint64_t enqueued) {
  for (Use& use : uses_) {
    if (use.queue != queue) continue;
    use.enqueued = enqueued;
    return;
  }
  uses_.push_back({queue, enqueued, nullptr});
}

void Allocation::use_until(std::shared_ptr<Mark> mark) {
  if (mark != nullptr) uses_.push_back({nullptr, 0, std::move(mark)});
}

std::vector<std::shared_ptr<Mark>> Allocation::marks() {
  std::vector<std::shared_ptr<Mark>> marks;
  for (const Use& use : uses_) {
    std::shared_ptr<Mark> mark = use.mark != nullptr ? use.mark : use.queue->mark(use.enqueued);
    if (mark != nullptr && !mark->has_passed()) marks.push_back(std::move(mark));
  }
  return marks;
}

bool Allocation::is_idle() {
  if (!marks().empty()) return false;
  uses_.clear();
  return true;
}

void Allocation::wait_until_idle() {
  for (const std::shared_ptr<Mark>& mark : marks()) mark->wait();
  uses_.clear();
}

void free_retired(Device& device) {
  DeviceScope scope;
  if (!scope.enter(device).ok()) return;
  take_retired(device, true);
}

void drain_retired() {
  std::vector<Device*> devices;
  {
    const std::lock_guard lock(all_mutex);
    for (const auto& [device, list] : all_retired()) {
      if (!list.empty()) devices.push_back(device);
    }
  }
  for (Device* device : devices) wait_for_retired(*device);
}

}  // namespace rmsnorm::cuda
