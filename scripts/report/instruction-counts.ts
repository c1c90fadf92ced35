// Tables of instructions per element: of every kernel, and of the sizes that have a mark (a limit).
//
// npx tsx scripts/report/instruction-counts.ts [FATBIN …] prints the table of the sizes, and the distance
// from each load to its first use, for the code of the last build or of the named files.

import { markdownTable } from '../generated-text';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import { kernelCodes, type KernelCode } from './cubin';
import { builtCodes, launchedCode, loadDistance, type LaunchedCode } from './launched-code';
import type { InstructionClass } from './opcodes';

/** The architectures whose instructions are counted. */
export const counted = ['sm_80', 'sm_90', 'sm_100'] as const;
export type Counted = (typeof counted)[number];

/** Enough rows to fill whole blocks, and to make four groups of 16 rows for dweight. */
const rows = 64;

/**
 * Sizes, and their limit of instructions per element on sm_90; the limit on sm_100 is nine tenths of
 * it.
 */
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

/** The launches of the sizes with a mark, except reduce_dweight, which processes no rows. */
export async function markedLaunches(): Promise<Launch[]> {
  const launches = await launchesOf(
    marks.map(({ run }) => run),
    // One multiprocessor, for which these rows are many.
    { CUDASIM_CC: '9.0', CUDASIM_SMS: '1' },
  );
  return launches.filter(({ kernel }) => !kernel.startsWith('reduce_dweight'));
}

/** The code of a launch on each counted architecture that its kernel is built for. */
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
  const code = found[shown];
  const ofClass = (kinds: readonly InstructionClass[]) =>
    code && kinds.reduce((sum, kind) => sum + code.byClass[kind], 0);
  const figures = [
    ...counted.map((architecture) => found[architecture]?.instructions),
    Object.values(found)[0]?.ptxInstructions,
    ...columns.map(([, kinds]) => ofClass(kinds)),
  ];
  return [
    `\`${launch.kernel}\``,
    ...figures.map((figure) => figure?.toFixed(1) ?? '–'),
    `${(code && loadDistance(code)) ?? '–'}`,
  ];
}

const heads = ['Kernel', ...counted, 'PTX', ...columns.map(([head]) => head), 'Load to use'];

/** A run in words. */
export function runText(run: Run): string {
  const { direction, dtype, weightDtype, castOrder, residual, rows: count, hiddenSize } = run;
  const options = [
    ...(weightDtype === undefined ? [] : [`weight ${weightDtype}`]),
    ...(castOrder === undefined ? [] : [`order ${castOrder}`]),
    ...(residual === undefined ? [] : [direction === 'forward' ? 'residual' : 'dsum']),
  ];
  return [`${direction} ${dtype}`, ...options, `${count} x ${hiddenSize}`].join(', ');
}

/** A row for each launch. */
export function instructionTable(
  launches: readonly Launch[],
  codes: readonly KernelCode[],
): string {
  const lines = launches.map((launch) => [runText(launch.run), ...cellsOf(launch, codes)]);
  return markdownTable({ head: ['Run', ...heads], rows: lines }, 2);
}

/** A row for each launch of a size with a mark. */
export function markTable(launches: readonly Launch[], codes: readonly KernelCode[]): string {
  const lines = launches.map((launch) => {
    const mark = marks.find(({ run }) => runText(run) === runText(launch.run))?.instructions;
    return [runText(launch.run), `${mark ?? '–'}`, ...cellsOf(launch, codes)];
  });
  return markdownTable({ head: ['Run', 'Mark', ...heads], rows: lines });
}

/** How to read the tables. */
export const explanation = [
  'Instructions of threads for each element of the matrix, counted in the machine code. The simulated GPU runs PTX, and records what each warp did between barriers: the bytes that it loaded and stored, and its shuffles. The shortest path through the machine code that does exactly the same is counted. “–”: there is no such path.',
  '',
  'Some tests at run time move nothing, above all that of the cast order: there the cheaper case counts. All warps of a launch count, also those without columns, and so do the begin and the end of a block. _PTX_ is the number of instructions that the simulated GPU executed, for comparison.',
  '',
  'The columns from _FP_ to _Load to use_ are of sm_90. _Load to use_ is the least number of instructions from a load of global memory to the first use of what it loads. A mark is a limit: sm_90 has to stay below it, sm_100 below nine tenths of it.',
].join('\n');

/** Each load instruction once, with its least distance. */
function loadsText({ loads }: LaunchedCode): string {
  const least = new Map<number, string>();
  for (const { address, bytes, distance } of loads.toSorted((a, b) => b.distance - a.distance)) {
    least.set(address, `${address.toString(16)}:${bytes}:${distance}`);
  }
  return `loads, as address:bytes:instructions to the first use: ${[...least.values()].join(' ')}`;
}

async function main(args: string[]): Promise<void> {
  const files = args.filter((arg) => arg.endsWith('.fatbin'));
  const codes = files.length > 0 ? files.flatMap(kernelCodes) : builtCodes();
  const launches = await markedLaunches();
  console.log(markTable(launches, codes));
  for (const launch of launches) {
    for (const [architecture, code] of Object.entries(countedCode(launch, codes))) {
      console.log(`${runText(launch.run)}, ${architecture}: ${loadsText(code)}`);
    }
  }
}

if (require.main === module) void main(process.argv.slice(2));
