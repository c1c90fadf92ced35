// The basic blocks of a kernel's machine code: instructions that are executed all, or not at all.

import { instructionBytes, type Instruction } from './instructions';

export interface Block {
  readonly instructions: readonly Instruction[];
  /** The numbers of the blocks that can follow. */
  readonly next: readonly number[];
  /** Whether threads can exit at its last instruction. */
  readonly isEnd: boolean;
  /** Whether warps wait at a barrier at the end of the block. */
  readonly barrier: 'always' | 'maybe' | 'never';
}

/** The blocks of a kernel in the order of their addresses. The first one is its entry. */
export function blocksOf(instructions: readonly Instruction[]): Block[] {
  const bytes = instructions.length * instructionBytes;
  const starts = new Set([0]);
  for (const { address, name, targets, fallsThrough } of instructions) {
    if (targets.length > 0 || !fallsThrough || name === 'EXIT' || name === 'BAR') {
      starts.add(address + instructionBytes);
    }
    for (const target of targets) starts.add(target);
  }
  const begins = [...starts].filter((at) => at < bytes).sort((a, b) => a - b);
  const numbers = new Map(begins.map((begin, i) => [begin, i]));
  return begins.map((begin, i) => {
    const end = begins[i + 1] ?? bytes;
    const own = instructions.slice(begin / instructionBytes, end / instructionBytes);
    const last = own.at(-1) as Instruction;
    const addresses = [...last.targets, ...(last.fallsThrough ? [end] : [])];
    const next = addresses.map((address) => numbers.get(address));
    return {
      instructions: own,
      next: next.filter((number) => number !== undefined),
      isEnd: last.name === 'EXIT',
      barrier: last.name !== 'BAR' ? 'never' : last.isGuarded ? 'maybe' : 'always',
    };
  });
}
