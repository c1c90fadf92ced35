// Page-locked host memory, which copies read and write when they run.
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
  const ContextPtr context;  // the context that allocated it
};

// Queued copies keep their block alive, so that a block that is freed too early is reported and
// does not corrupt the process.
using PinnedPtr = std::shared_ptr<PinnedBlock>;

class PinnedMemory {
 public:
  PinnedPtr allocate(std::size_t bytes, const ContextPtr& context);  // null: out of memory
  PinnedPtr take(const void* data);                                  // null: no block begins there
  std::vector<PinnedPtr> take_all_of(const Context& context);

  // The block that holds `data`; null: pageable memory.
  PinnedPtr find(const void* data) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, PinnedPtr> blocks_;
};

// Whether the block holds all the bytes from `data` on.
bool holds(const PinnedBlock& block, const void* data, std::size_t bytes);

}  // namespace cudasim
