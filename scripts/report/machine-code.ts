// What a kernel's machine code says of its speed: instructions on the way that a warp takes, what they
// are for, and how long each load has until what it brings is used.
// npx tsx scripts/report/machine-code.ts build/cuda/forward.*.fatbin sm_90 [part of a kernel's name]

import { blocksOf, type Block } from './blocks';
import { kernelCodes } from './cubin';
import { instructionsOf, type Instruction } from './instructions';
import { mainPath, type Loop } from './main-path';
import { classes, type InstructionClass } from './opcodes';

/** A load of global memory. */
export interface Load {
  readonly address: number;
  readonly bytes: number;
  /** Instructions from it to the first that reads or writes what it brings. */
  readonly distance: number;
}

/** The loads of a way through the code: each as often as it is executed. */
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

/** Accesses to local memory: spilled registers. */
export function spillsOf(instructions: readonly Instruction[]): number {
  return instructions.filter(({ access }) => access?.space === 'local').length;
}

export function hex(address: number): string {
  return address.toString(16).padStart(4, '0');
}

/** Counts by class, divided by something: `'float32 4.1, integer 6.3'`. */
export function classesText(counts: ClassCounts, divisor = 1): string {
  const present = classes.filter((kind) => counts[kind] > 0);
  const texts = present.map((kind) => `${kind} ${+(counts[kind] / divisor).toFixed(2)}`);
  return texts.join(', ');
}

/** Each load once, with its least distance. */
export function loadsText(path: readonly Instruction[]): string {
  const least = new Map<number, Load>();
  for (const load of loadsOf(path)) {
    if (load.distance < (least.get(load.address)?.distance ?? Infinity)) {
      least.set(load.address, load);
    }
  }
  const texts = Array.from(least.values(), ({ address, bytes, distance }) =>
    [hex(address), bytes, distance].join(':'),
  );
  return `loads, as address:bytes:instructions to the first use: ${texts.join(' ')}`;
}

function loopsText(blocks: readonly Block[], path: readonly Instruction[], loops: readonly Loop[]) {
  const onPath = new Set(path);
  return loops.flatMap(({ begin, blocks: body }) => {
    const inside = [...body].flatMap((number) => blocks[number]?.instructions ?? []);
    const taken = inside.filter((instruction) => onPath.has(instruction));
    if (taken.length === 0) return [];
    const at = hex(blocks[begin]?.instructions[0]?.address ?? 0);
    return [`loop at ${at}: ${taken.length} of these (${classesText(countClasses(taken))})`];
  });
}

function main([file, architecture, part = '']: string[]): void {
  if (file === undefined || architecture === undefined) {
    throw new Error('machine-code.ts FATBIN sm_90 [part of a kernel’s name]');
  }
  for (const code of kernelCodes(file)) {
    if (code.architecture !== architecture || !code.name.includes(part)) continue;
    const all = instructionsOf(code);
    const blocks = blocksOf(all);
    const { instructions: path, loops } = mainPath(blocks);
    const lines = [
      `${path.length} instructions on the main path, each loop once (${classesText(countClasses(path))}), ${spillsOf(all)} spills`,
      loadsText(path),
      ...loopsText(blocks, path, loops),
    ];
    console.log([`${code.name} ${architecture}:`, ...lines].join('\n  '));
  }
}

if (require.main === module) main(process.argv.slice(2));
