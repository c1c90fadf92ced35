// What the machine code of a kernel says of its speed: instructions on the main path, by what they are
// for, and how long each load has until what it brings is used.
// npx tsx scripts/report/machine-code.ts build/cuda/forward.*.fatbin sm_90 [part of a kernel's name]

import { kernelCodes, type KernelCode } from './cubin';
import { instructionsOf, type Instruction } from './instructions';
import { blocksOf, mainPath, type Block, type Loop } from './main-path';
import { classes, type InstructionClass } from './opcodes';

/** A load of global memory on the main path. */
export interface Load {
  readonly address: number;
  readonly bytes: number;
  /** Instructions from it to the first that reads or writes what it writes. */
  readonly distance: number;
}

export interface MachineCode {
  readonly name: string;
  readonly architecture: string;
  /** Of the main path. */
  readonly instructions: number;
  readonly byClass: Readonly<Record<InstructionClass, number>>;
  readonly loads: readonly Load[];
  /** Accesses to local memory, in all of the kernel. */
  readonly spills: number;
  readonly path: readonly Instruction[];
  readonly loops: readonly Loop[];
  readonly blocks: readonly Block[];
}

function isLoad({ name }: Instruction): boolean {
  return name === 'LDG';
}

function loadsOf(path: readonly Instruction[]): Load[] {
  return path.flatMap((load, at) => {
    if (!isLoad(load)) return [];
    const registers = new Set(load.writes);
    const use = path.findIndex(
      ({ reads, writes }, i) => i > at && [...reads, ...writes].some((one) => registers.has(one)),
    );
    const distance = use < 0 ? Infinity : use - at;
    return [{ address: load.address, bytes: load.access?.bytes ?? 0, distance }];
  });
}

export function machineCodeOf(code: KernelCode): MachineCode {
  const all = instructionsOf(code);
  const blocks = blocksOf(all);
  const { instructions: path, loops } = mainPath(blocks);
  const count = (kind: InstructionClass) => path.filter((one) => one.class === kind).length;
  return {
    name: code.name,
    architecture: code.architecture,
    instructions: path.length,
    byClass: Object.fromEntries(classes.map((kind) => [kind, count(kind)])) as Record<
      InstructionClass,
      number
    >,
    loads: loadsOf(path),
    spills: all.filter(({ access }) => access?.space === 'local').length,
    path,
    loops,
    blocks,
  };
}

function hex(address: number): string {
  return address.toString(16).padStart(4, '0');
}

/** What is printed of a kernel. */
function summaryOf(code: MachineCode): string {
  const { name, architecture, instructions, byClass, loads, spills, path, loops, blocks } = code;
  const counts = classes
    .filter((kind) => byClass[kind] > 0)
    .map((kind) => `${kind} ${byClass[kind]}`);
  const distances = loads.map((load) => `${hex(load.address)}:${load.bytes}B:${load.distance}`);
  const onPath = new Set(path.map(({ address }) => address));
  const ofLoops = loops.flatMap(({ begin, blocks: body }) => {
    const inside = [...body].flatMap((number) => blocks[number]?.instructions ?? []);
    const taken = inside.filter(({ address }) => onPath.has(address));
    if (taken.length === 0) return [];
    const ofKinds = classes.map((kind) => [kind, taken.filter((one) => one.class === kind).length]);
    const kinds = ofKinds.filter(([, number]) => number !== 0).map((pair) => pair.join(' '));
    const at = hex(blocks[begin]?.instructions[0]?.address ?? 0);
    return [`  loop at ${at}: ${taken.length} a trip on the main path (${kinds.join(', ')})`];
  });
  return [
    `${name} ${architecture}: ${instructions} instructions on the main path (${counts.join(', ')}), ${spills} spills`,
    `  loads, as address:bytes:instructions to the first use: ${distances.join(' ')}`,
    ...ofLoops,
  ].join('\n');
}

function main([file, architecture, part = '']: string[]): void {
  if (file === undefined || architecture === undefined) {
    throw new Error('machine-code.ts FATBIN sm_90 [part of a kernel’s name]');
  }
  const codes = kernelCodes(file).filter(
    (code) => code.architecture === architecture && code.name.includes(part),
  );
  for (const code of codes) console.log(summaryOf(machineCodeOf(code)));
}

if (require.main === module) main(process.argv.slice(2));
