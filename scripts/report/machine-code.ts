// Properties of a warp's path that affect its speed: the classes of its instructions, and the distance
// from each load to the first use of its data.

import type { Instruction } from './instructions';
import { classes, type InstructionClass } from './opcodes';

/** A load of global memory. */
export interface Load {
  readonly address: number;
  readonly bytes: number;
  /** Instructions from the load to the first one that reads or writes the loaded registers. */
  readonly distance: number;
}

/** The loads on a path, each as often as it is executed. */
export function loadsOf(path: readonly Instruction[]): Load[] {
  return path.flatMap(({ address, name, writes, access }, at) => {
    if (name !== 'LDG') return [];
    let use = at + 1;
    const isUse = ({ reads, writes: others }: Instruction) =>
      writes.some((register) => reads.includes(register) || others.includes(register));
    while (use < path.length && !isUse(path[use] as Instruction)) use += 1;
    return [{ address, bytes: access?.bytes ?? 0, distance: use - at }];
  });
}

export type ClassCounts = Readonly<Record<InstructionClass, number>>;

export function countClasses(instructions: readonly Instruction[]): ClassCounts {
  const count = (kind: InstructionClass) => instructions.filter((one) => one.class === kind).length;
  const entries = classes.map((kind) => [kind, count(kind)] as const);
  return Object.fromEntries(entries) as Record<InstructionClass, number>;
}

/** The number of accesses to local memory, which are spilled registers. */
export function spillsOf(instructions: readonly Instruction[]): number {
  return instructions.filter(({ access }) => access?.space === 'local').length;
}
