// Orders the basic blocks of a kernel, and with them the lanes of a warp.
//
// Lanes that diverge at a branch must reconverge as early as on a GPU. Otherwise only some of them
// would take part in a barrier or shuffle after the branch. The interpreter always runs the lanes
// with the lowest instruction index, so the order of the blocks decides where lanes reconverge:
//   - An edge leads to a later block, unless it is a back edge to the head of a loop. When a block
//     runs, every lane that can still reach it on forward edges has arrived.
//   - The blocks of a loop are consecutive, so that lanes that left the loop wait for lanes in it.
//     The loop's latch follows them: a jump to the head, to which all back edges lead. Lanes that
//     have finished an iteration wait at the latch for the others.
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
  std::vector<FlowStep> steps;       // reachable blocks, and latches
  std::vector<FlowEdge> back_edges;  // each must jump to the latch of `to`
};

// Orders the blocks of a flow graph. Block 0 is the entry.
FlowOrder order_blocks(const std::vector<std::vector<int>>& successors);

}  // namespace cudasim
