#include "flow.h"

#include <algorithm>

namespace cudasim {
namespace {

// Finds nested strongly connected components. A component with a cycle is a loop. Without the head,
// the rest of the loop splits into the components inside it.
class Orderer {
 public:
  explicit Orderer(const std::vector<std::vector<int>>& successors)
      : successors_(successors),
        region_(successors.size(), -1),
        index_(successors.size()),
        low_(successors.size()),
        on_stack_(successors.size()) {}

  FlowOrder run() {
    std::vector<int> all;
    for (std::size_t b = 0; b < successors_.size(); ++b) all.push_back(static_cast<int>(b));
    // Only the entry is a root: unreachable blocks are left out.
    for (const int block : all) region_[at(block)] = 0;
    order({0}, 0);
    return std::move(result_);
  }

 private:
  static std::size_t at(int block) { return static_cast<std::size_t>(block); }

  // Appends the blocks of `region` that `roots` reach, in the order of the first rule in flow.h.
  void order(const std::vector<int>& roots, int region) {
    std::vector<std::vector<int>> components;  // in reverse order
    for (const int root : roots) {
      if (region_[at(root)] == region) connect(root, region, components);
    }
    for (auto component = components.rbegin(); component != components.rend(); ++component) {
      emit(*component);
    }
  }

  // Tarjan's algorithm. emit() gives the blocks of each component a region of their own.
  void connect(int block, int region, std::vector<std::vector<int>>& components) {
    index_[at(block)] = low_[at(block)] = ++counter_;
    stack_.push_back(block);
    on_stack_[at(block)] = true;
    region_[at(block)] = -region - 2;  // visited
    for (const int next : successors_[at(block)]) {
      if (region_[at(next)] == region) {
        connect(next, region, components);
        low_[at(block)] = std::min(low_[at(block)], low_[at(next)]);
      } else if (on_stack_[at(next)] && region_[at(next)] == -region - 2) {
        low_[at(block)] = std::min(low_[at(block)], index_[at(next)]);
      }
    }
    if (low_[at(block)] != index_[at(block)]) return;
    std::vector<int> component;
    for (int member = -1; member != block;) {
      member = stack_.back();
      stack_.pop_back();
      on_stack_[at(member)] = false;
      component.push_back(member);
    }
    std::reverse(component.begin(), component.end());  // the head was visited first
    components.push_back(std::move(component));
  }

  void emit(const std::vector<int>& component) {
    const int head = component.front();
    const int region = ++regions_;
    for (const int block : component) region_[at(block)] = region;
    bool loop = false;
    for (const int block : component) {
      for (const int next : successors_[at(block)]) {
        if (next != head) continue;
        loop = true;
        result_.back_edges.push_back({block, head});
      }
    }
    region_[at(head)] = -1;  // never visited again
    result_.steps.push_back({head, false});
    if (!loop) return;
    order({component.begin() + 1, component.end()}, region);
    result_.steps.push_back({head, true});
  }

  const std::vector<std::vector<int>>& successors_;
  std::vector<int> region_;  // for each block, the call of order() that handles it
  std::vector<int> index_, low_;
  std::vector<bool> on_stack_;
  std::vector<int> stack_;
  int counter_ = 0, regions_ = 0;
  FlowOrder result_;
};

}  // namespace

FlowOrder order_blocks(const std::vector<std::vector<int>>& successors) {
  return Orderer(successors).run();
}

}  // namespace cudasim
