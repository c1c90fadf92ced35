// Decodes branches, barriers and exits, and puts the instructions into their final order.
#include <algorithm>
#include <set>

#include "decoder.h"
#include "flow.h"

namespace cudasim {

bool Decoder::control_statement(const Statement& statement,
                                const std::vector<std::string_view>& fields) {
  const std::string_view name = statement.name;
  if (name == "bra" || name == "bra.uni") {
    branch(statement);
  } else if (name == "ret" || name == "ret.uni" || name == "exit") {
    expect_operands(statement, 0, 0);
    Instruction instruction = start(statement);
    instruction.flow = Flow::kExit;
    emit(instruction, statement);
  } else if ((fields[0] == "bar" || fields[0] == "barrier") && name != "bar.warp.sync") {
    barrier(statement, fields);
  } else {
    return false;
  }
  return true;
}

void Decoder::branch(const Statement& statement) {
  expect_operands(statement, 1, 1);
  Instruction instruction = start(statement);
  instruction.flow = Flow::kBranch;
  branches_[static_cast<u32>(kernel_->code.size())] = statement.operands[0].name;
  emit(instruction, statement);
}

// in[0] is the number of the barrier, in[1] the predicate of a reduction. A barrier for a subset of
// the block's threads is not modelled.
void Decoder::barrier(const Statement& statement, const std::vector<std::string_view>& fields) {
  std::vector<std::string_view> modifiers(fields.begin() + 1, fields.end());
  if (!modifiers.empty() && modifiers[0] == "cta") modifiers.erase(modifiers.begin());
  const auto aligned = std::find(modifiers.begin(), modifiers.end(), "aligned");
  if (aligned != modifiers.end()) modifiers.erase(aligned);
  Instruction instruction = start(statement);
  instruction.flow = Flow::kBarrier;
  std::size_t first = 0;
  if (modifiers == std::vector<std::string_view>{"sync"}) {
    expect_operands(statement, 1, 1);
  } else if (modifiers.size() == 3 && modifiers[0] == "red") {
    static const std::map<std::string_view, std::pair<Reduction, std::string_view>> kKinds{
        {"popc", {Reduction::kCount, "u32"}},
        {"and", {Reduction::kAnd, "pred"}},
        {"or", {Reduction::kOr, "pred"}}};
    const auto kind = kKinds.find(modifiers[1]);
    if (kind == kKinds.end() || kind->second.second != modifiers[2]) {
      bad(statement, "unknown reduction");
    }
    instruction.reduction = kind->second.first;
    expect_operands(statement, 3, 3);
    const char letter = modifiers[2] == "u32" ? 'w' : 'p';
    instruction.out[instruction.outputs++] =
        written_operand(statement, statement.operands[0], letter).reg;
    first = 1;
  } else {
    bad(statement, "unknown barrier");
  }
  instruction.in[instruction.inputs++] =
      read_operand(statement, statement.operands[first], 'w').reg;
  if (first == 1) {
    instruction.in[instruction.inputs++] = read_operand(statement, statement.operands[2], 'p').reg;
  }
  emit(instruction, statement);
}

// Splits the instructions into basic blocks and puts the blocks into the order of flow.h.
void Decoder::resolve_flow() {
  // The end of the text is an exit.
  Instruction end;
  end.flow = Flow::kExit;
  end.hidden = true;
  end.line = entry_.line;
  kernel_->code.push_back(end);
  kernel_->statements.emplace_back("the end");
  std::vector<Instruction>& code = kernel_->code;

  std::map<u32, u32> targets;  // from index of branch to index of target
  std::set<u32> begins{0};
  for (const auto& [index, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) {
      reject(code[index].line, "no label " + std::string(label));
    }
    targets[index] = found->second;
    begins.insert(found->second);
  }
  for (u32 index = 0; index + 1 < code.size(); ++index) {
    if (code[index].flow == Flow::kBranch || code[index].flow == Flow::kExit) {
      begins.insert(index + 1);
    }
  }
  struct Block {
    u32 begin, end;  // the last instruction is end - 1
  };
  std::vector<Block> blocks;
  std::map<u32, int> block_at;
  for (auto begin = begins.begin(); begin != begins.end(); ++begin) {
    block_at[*begin] = static_cast<int>(blocks.size());
    const auto after = std::next(begin);
    blocks.push_back({*begin, after == begins.end() ? static_cast<u32>(code.size()) : *after});
  }
  std::vector<std::vector<int>> successors(blocks.size());
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const u32 last = blocks[b].end - 1;
    const bool leaves = code[last].flow == Flow::kBranch || code[last].flow == Flow::kExit;
    if (code[last].flow == Flow::kBranch) successors[b].push_back(block_at[targets[last]]);
    if (!leaves || code[last].guarded) successors[b].push_back(static_cast<int>(b) + 1);
  }

  const FlowOrder order = order_blocks(successors);
  std::vector<Instruction> ordered;
  std::vector<std::string> statements;
  std::map<int, u32> start_of, latch_of;
  for (const FlowStep& step : order.steps) {
    (step.latch ? latch_of : start_of)[step.block] = static_cast<u32>(ordered.size());
    if (step.latch) {
      Instruction jump;
      jump.flow = Flow::kBranch;
      jump.hidden = jump.ends_block = true;
      jump.target = start_of[step.block];
      jump.line = code[blocks[static_cast<std::size_t>(step.block)].begin].line;
      ordered.push_back(jump);
      statements.emplace_back("the latch of a loop");
      continue;
    }
    const Block& block = blocks[static_cast<std::size_t>(step.block)];
    for (u32 index = block.begin; index < block.end; ++index) {
      ordered.push_back(code[index]);
      ordered.back().next = static_cast<u32>(ordered.size());
      statements.push_back(std::move(kernel_->statements[index]));
    }
  }
  std::set<std::pair<int, int>> back;
  for (const FlowEdge& edge : order.back_edges) back.emplace(edge.from, edge.to);
  for (const FlowStep& step : order.steps) {
    if (step.latch) continue;
    const auto b = static_cast<std::size_t>(step.block);
    const u32 length = blocks[b].end - blocks[b].begin;
    Instruction& last = ordered[start_of[step.block] + length - 1];
    last.ends_block = true;
    const auto index_of = [&](int to) {
      return back.contains({step.block, to}) ? latch_of[to] : start_of[to];
    };
    if (last.flow == Flow::kBranch) last.target = index_of(successors[b].front());
    const bool leaves = last.flow == Flow::kBranch || last.flow == Flow::kExit;
    if (!leaves || last.guarded) last.next = index_of(successors[b].back());
  }
  code = std::move(ordered);
  kernel_->statements = std::move(statements);
}

}  // namespace cudasim
