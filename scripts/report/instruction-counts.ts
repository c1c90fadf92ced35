// Instructions an element, as tables: of every kernel, and of the sizes that have a mark.
// npx tsx scripts/report/instruction-counts.ts [part of a kernel's name] prints them without a report.

import { markdownTable } from '../generated-text';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import type { KernelCode } from './cubin';
import { builtCodes, launchedCode, type LaunchedCode } from './launched-code';
import type { InstructionClass } from './opcodes';

/** The architectures that instructions are counted of. */
export const counted = ['sm_80', 'sm_90', 'sm_100'] as const;
export type Counted = (typeof counted)[number];

/** Rows of whole blocks, and four groups of those that dweight's order joins. */
const rows = 64;

/** Sizes, and what instructions an element on sm_90 are to stay below; sm_100 has nine tenths of it. */
export const marks: readonly { run: Run; instructions: number }[] = (
  [
    ['forward', 'float32', 4096, 16],
    ['forward', 'bfloat16', 4096, 12.5],
    ['backward', 'float32', 4096, 21],
    ['backward', 'bfloat16', 4096, 24],
    ['forward', 'bfloat16', 5120, 16],
    ['forward', 'bfloat16', 128, 20],
    ['forward', 'bfloat16', 64, 30],
  ] as const
).map(([direction, dtype, hiddenSize, instructions]) => ({
  run: { direction, dtype, hiddenSize, rows },
  instructions,
}));

/** The launches of the sizes with a mark, but for the end of dweight, which is no matter of rows. */
export async function markedLaunches(): Promise<Launch[]> {
  const launches = await launchesOf(
    marks.map(({ run }) => run),
    { CUDASIM_CC: '9.0' },
  );
  return launches.filter(({ kernel }) => !kernel.startsWith('finish_dweight'));
}

/** What a launch executes on each architecture that it is counted of and built for. */
export function countedCode(
  launch: Launch,
  codes: readonly KernelCode[],
): Partial<Record<Counted, LaunchedCode>> {
  const found = counted.map((architecture) => {
    const code = codes.find(
      (one) => one.name === launch.kernel && one.architecture === architecture,
    );
    return [architecture, code && launchedCode(launch, code)] as const;
  });
  return Object.fromEntries(found.filter(([, code]) => code !== undefined));
}

const shown = 'sm_90';
const columns: readonly [head: string, classes: readonly InstructionClass[]][] = [
  ['FP', ['float32', 'float16', 'float64', 'special']],
  ['Conversions', ['conversion']],
  ['Integers, addresses', ['integer']],
  ['Memory, shuffles', ['memory', 'shuffle']],
  ['Control', ['control']],
];

function cellsOf(launch: Launch, codes: readonly KernelCode[]): string[] {
  const found = countedCode(launch, codes);
  const { run, kernel } = launch;
  const { byClass, loadDistance } = found[shown] ?? {};
  const ofClass = (kinds: readonly InstructionClass[]) =>
    byClass === undefined ? '–' : kinds.reduce((sum, kind) => sum + byClass[kind], 0).toFixed(1);
  return [
    `\`${kernel}\``,
    `${run.direction} ${run.dtype} ${run.rows} x ${run.hiddenSize}`,
    ...counted.map((architecture) => found[architecture]?.instructions.toFixed(1) ?? '–'),
    ...columns.map(([, kinds]) => ofClass(kinds)),
    loadDistance === undefined || loadDistance === Infinity ? '–' : `${loadDistance}`,
  ];
}

const heads = [...counted, ...columns.map(([head]) => head), 'Load to use'];

/** A row for each launch. */
export function instructionTable(
  launches: readonly Launch[],
  codes: readonly KernelCode[],
): string {
  const lines = launches.map((launch) => cellsOf(launch, codes));
  return markdownTable({ head: ['Kernel', 'Run', ...heads], rows: lines }, 2);
}

/** A row for each size with a mark. */
export function markTable(launches: readonly Launch[], codes: readonly KernelCode[]): string {
  const lines = launches.map((launch) => {
    const [kernel, run, ...cells] = cellsOf(launch, codes);
    const marked = marks.find(
      (one) =>
        one.run.direction === launch.run.direction &&
        one.run.dtype === launch.run.dtype &&
        one.run.hiddenSize === launch.run.hiddenSize,
    );
    return [run as string, kernel as string, `${marked?.instructions}`, ...cells];
  });
  return markdownTable({ head: ['Run', 'Kernel', 'Mark', ...heads], rows: lines }, 2);
}

/** How the tables are to be read. */
export const explanation =
  'Instructions are those of threads for each element of the matrix, counted in the machine code. The simulated GPU runs PTX and says what each warp did between barriers: bytes that it loaded and stored, shuffles. Instructions are counted along the shortest way through the machine code that does exactly the same; where an option that moves nothing is found out at run time (the cast order, above all), that is the cheaper one. All warps of the launch are counted, those without columns and the beginning and end of a block too. “–”: no such way was found among many. The columns from _FP_ on are of sm_90. _Load to use_ is the least number of instructions from a load of global memory to the first use of what it brings.';

async function main([part = '']: string[]): Promise<void> {
  const launches = await markedLaunches();
  const asked = launches.filter(({ kernel }) => kernel.includes(part));
  console.log(markTable(asked, builtCodes()));
}

if (require.main === module) void main(process.argv.slice(2));
