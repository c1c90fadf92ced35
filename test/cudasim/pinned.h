// Page-locked host memory: copies from and to it read and write it when they run.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "context.h"

namespace cudasim {

struct PinnedBlock {
  PinnedBlock(void* data, std::size_t bytes, ContextPtr context)
      : data(data), bytes(bytes), context(std::move(context)) {}
  ~PinnedBlock() { ::operator delete (data, std::align_val_t{4096}); }
  PinnedBlock(const PinnedBlock&) = delete;
  PinnedBlock& operator=(const PinnedBlock&) = delete;

  void* const data;
  const std::size_t bytes;
  const ContextPtr context;  // that it was allocated in
};

// Queued copies hold on to their block: the process's memory stays whole even if the block is freed
// too early, which is reported.
using PinnedPtr = std::shared_ptr<PinnedBlock>;

class PinnedMemory {
 public:
  PinnedPtr allocate(std::size_t bytes, const ContextPtr& context);  // null: none left
  PinnedPtr take(const void* data);                                  // null: not a block's start
  std::vector<PinnedPtr> take_all_of(const Context& context);

  // The block that `data` lies in, null if that is pageable memory.
  PinnedPtr find(const void* data) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, PinnedPtr> blocks_;
};

// Whether the bytes, which begin in the block, end there, too.
bool holds(const PinnedBlock& block, const void* data, std::size_t bytes);

}  // namespace cudasim
