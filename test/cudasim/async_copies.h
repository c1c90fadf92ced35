// cp.async: copies from global to shared memory that a thread asks for and later waits for. What is
// read is what was there when it was asked for; it is written when the thread waits, so that who
// does not wait finds what was there before, or nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "program.h"

namespace cudasim {

// Of one thread.
class AsyncCopies {
 public:
  struct Copy {
    u64 to;  // in shared memory
    std::array<std::byte, 16> bytes;
    std::size_t count;
  };

  void add(const Copy& copy) { open_.push_back(copy); }
  void end_group() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  // Takes those of the oldest group, if more than `later` are there.
  bool take(std::size_t later, std::vector<Copy>* copies) {
    if (groups_.size() <= later) return false;
    *copies = std::move(groups_.front());
    groups_.pop_front();
    return true;
  }
  void clear() {
    open_.clear();
    groups_.clear();
  }

 private:
  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

// in: addresses in shared and in global memory; width: bytes.
Handler async_copy_handler();
Handler async_commit_handler();
// immediate: how many groups may be under way afterwards.
Handler async_wait_handler();

}  // namespace cudasim
