// The order in which the lanes of a warp pass through a kernel's basic blocks.
//
// Lanes that parted at a branch must meet again as early as they would on a GPU, or a barrier or
// shuffle behind the branch would be seen by some of them only. The interpreter always runs the
// lanes with the lowest index of instruction, so that an order of the blocks decides it all:
//   - An edge leads to a later block, unless it goes back to the head of a loop. So when a block
//     runs, every lane that can still reach it on forward edges is there.
//   - The blocks of a loop are consecutive, so that lanes that left it wait for those in it. Behind
//     them stands the loop's latch, a jump to the head that all edges back lead to: lanes that are
//     done with a round wait there for those that are not.
#pragma once

#include <vector>

namespace cudasim {

struct FlowStep {
  int block = 0;
  bool latch = false;  // of the loop whose head is `block`
};

struct FlowEdge {
  int from = 0, to = 0;
};

struct FlowOrder {
  std::vector<FlowStep> steps;       // blocks that can be reached, and latches
  std::vector<FlowEdge> back_edges;  // to lead to the latch of `to`
};

// Of a graph of blocks, entered at block 0.
FlowOrder order_blocks(const std::vector<std::vector<int>>& successors);

}  // namespace cudasim
