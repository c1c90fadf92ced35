// cp.async: copies from global to shared memory, which a thread issues and later waits for. The
// source is read when the copy is issued. The destination is written when the thread waits, so that
// a missing wait shows as stale or uninitialised data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "program.h"

namespace cudasim {

// The copies of one thread that are in flight.
class AsyncCopies {
 public:
  struct Copy {
    u64 to;  // address in shared memory
    std::array<std::byte, 16> bytes;
    std::size_t count;
  };

  void add(const Copy& copy) { open_.push_back(copy); }
  void end_group() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  // Removes and returns the oldest group, if more than `later` groups are in flight.
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

// in[0] is the address in shared memory, in[1] the address in global memory, width the bytes.
Handler async_copy_handler();
Handler async_commit_handler();
// immediate: how many groups may still be in flight afterwards.
Handler async_wait_handler();

}  // namespace cudasim
