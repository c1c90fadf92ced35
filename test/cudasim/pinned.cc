#include "pinned.h"

#include <cstring>
#include <iterator>

namespace cudasim {
namespace {

std::uintptr_t address_of(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

}  // namespace

PinnedPtr PinnedMemory::allocate(std::size_t bytes, const ContextPtr& context) {
  void* data = ::operator new (bytes, std::align_val_t{4096}, std::nothrow);
  if (data == nullptr) return nullptr;
  std::memset(data, 0xa5, bytes);  // so that code cannot rely on zeros
  auto block = std::make_shared<PinnedBlock>(data, bytes, context);
  const std::lock_guard lock(mutex_);
  blocks_.emplace(address_of(data), block);
  return block;
}

PinnedPtr PinnedMemory::take(const void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(address_of(data));
  if (found == blocks_.end()) return nullptr;
  PinnedPtr block = std::move(found->second);
  blocks_.erase(found);
  return block;
}

std::vector<PinnedPtr> PinnedMemory::take_all_of(const Context& context) {
  const std::lock_guard lock(mutex_);
  std::vector<PinnedPtr> taken;
  for (auto entry = blocks_.begin(); entry != blocks_.end();) {
    if (entry->second->context.get() == &context) {
      taken.push_back(std::move(entry->second));
      entry = blocks_.erase(entry);
    } else {
      ++entry;
    }
  }
  return taken;
}

PinnedPtr PinnedMemory::find(const void* data) const {
  const std::lock_guard lock(mutex_);
  const auto after = blocks_.upper_bound(address_of(data));
  if (after == blocks_.begin()) return nullptr;
  const PinnedPtr& block = std::prev(after)->second;
  return holds(*block, data, 1) ? block : nullptr;
}

bool holds(const PinnedBlock& block, const void* data, std::size_t bytes) {
  const std::uintptr_t offset = address_of(data) - address_of(block.data);
  return offset < block.bytes && bytes <= block.bytes - offset;
}

}  // namespace cudasim
