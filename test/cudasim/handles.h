// A table of handles. Handles are numbers, never addresses, so that a stale or invalid handle is
// detected instead of dereferenced.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace cudasim {

template <class Handle, class Object>
class Handles {
 public:
  using Pointer = std::shared_ptr<Object>;

  // `kind` distinguishes the handles of this table from those of others.
  explicit Handles(std::uintptr_t kind) : next_(kind << 40) {}

  Handle add(Pointer object) {
    const std::lock_guard lock(mutex_);
    const auto handle = reinterpret_cast<Handle>(next_ += 16);
    objects_.emplace(handle, std::move(object));
    return handle;
  }

  // Null: the handle is invalid.
  Pointer find(Handle handle) const {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }

  // Like find(), and makes the handle invalid.
  Pointer take(Handle handle) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) return nullptr;
    Pointer object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

  template <class Matches>
  std::vector<Pointer> take_all(const Matches& matches) {
    const std::lock_guard lock(mutex_);
    std::vector<Pointer> taken;
    for (auto entry = objects_.begin(); entry != objects_.end();) {
      if (matches(*entry->second)) {
        taken.push_back(std::move(entry->second));
        entry = objects_.erase(entry);
      } else {
        ++entry;
      }
    }
    return taken;
  }

 private:
  mutable std::mutex mutex_;
  std::uintptr_t next_;
  std::map<Handle, Pointer> objects_;
};

}  // namespace cudasim
