// npm run kernel-report: writes tables into docs/kernels.md. They show the figures of every CUDA kernel
// from the compiler, the machine code and the simulated GPU, and the times of a model. Needs a build
// with nvcc and test/cudasim, but no GPU.

import { execFileSync } from 'node:child_process';
import path from 'node:path';

import { uniqueBytes } from '../bench/gpu/trace';
import { hasSimulator } from '../test/support/processes';
import { compiledKernels, kernelNames, logFolder, type CompiledKernel } from './compiled-kernels';
import { markdownTable, writeGenerated } from './generated-text';
import { architectureNames, occupancyOf, type Architecture } from './occupancy';
import {
  explanation,
  instructionTable,
  markTable,
  markedLaunches,
} from './report/instruction-counts';
import { builtCodes } from './report/launched-code';
import { modelTables } from './report/model-table';
import { launchesOf, requestedBytes, type Launch, type Run } from './traced-runs';

const root = path.join(__dirname, '..');
const document = path.join(root, 'docs/kernels.md');

const halves = ['float16', 'bfloat16'] as const;
const dtypes = ['float32', ...halves] as const;

type Options = Omit<Run, 'direction' | 'rows' | 'hiddenSize'>;
function bothWays(rows: number, hiddenSize: number, options: Options): Run[] {
  const directions = ['forward', 'backward'] as const;
  return directions.map((direction) => ({ direction, rows, hiddenSize, ...options }));
}

/**
 * Calls that together launch every kernel. A kernel's figures are from the first call that launches it,
 * so typical calls come first.
 */
const runs: Run[] = [
  // Rows of 4096 columns of every dtype, with enough rows that the weight's share of the bytes is small.
  ...dtypes.flatMap((dtype) => bothWays(256, 4096, { dtype })),
  // Shorter rows of float32, for the kernel with one pack of dweight per thread.
  ...bothWays(256, 2048, { dtype: 'float32' }),
  // Longer rows, with one and two tiles per thread.
  ...bothWays(64, 8192, { dtype: 'float32' }),
  ...dtypes.flatMap((dtype) => bothWays(64, 16_384, { dtype })),
  // Short rows, and the other cast order.
  ...dtypes.flatMap((dtype) => bothWays(256, 128, { dtype })),
  ...halves.flatMap((dtype) =>
    [4096, 128].flatMap((size) => bothWays(256, size, { dtype, castOrder: 'float' })),
  ),
  ...halves.flatMap((dtype) =>
    [4096, 128].flatMap((size) => [
      ...bothWays(256, size, { dtype, weightDtype: 'float32' }),
      ...bothWays(256, size, { dtype, weightDtype: 'float32', castOrder: 'float' }),
    ]),
  ),
  // Calls with a residual.
  ...dtypes.flatMap((dtype) =>
    [4096, 2048, 8192, 16_384].flatMap((size) => bothWays(64, size, { dtype, residual: true })),
  ),
  ...halves.flatMap((dtype) =>
    bothWays(64, 4096, { dtype, weightDtype: 'float32', residual: true }),
  ),
  // Rows of an odd number of columns.
  ...dtypes.flatMap((dtype) => bothWays(128, 1023, { dtype })),
  // Rows that are too long for one block.
  ...dtypes.flatMap((dtype) => bothWays(16, 65_536, { dtype })),
  // Rows with a gate.
  ...dtypes.flatMap((dtype) =>
    [4096, 1023, 65_536].flatMap((size) => bothWays(16, size, { dtype, gate: 'after-norm' })),
  ),
  ...halves.flatMap((dtype) =>
    bothWays(16, 4096, { dtype, weightDtype: 'float32', gate: 'after-norm' }),
  ),
];

/** The first launch of each kernel, by name. */
function firstOfEach(launches: readonly Launch[]): Map<string, Launch> {
  return new Map(launches.toReversed().map((launch) => [launch.kernel, launch]));
}

/**
 * The launches on two simulated devices. Before compute capability 8.0 a block has less shared memory,
 * which changes the choice of kernels and blocks.
 */
export interface Observations {
  readonly turing: ReadonlyMap<string, Launch>;
  /** With counted traffic. */
  readonly newer: ReadonlyMap<string, Launch>;
}

async function observe(): Promise<Observations> {
  const turing = await launchesOf(runs, { CUDASIM_CC: '7.5', CUDASIM_EXECUTE: '0' });
  const newer = await launchesOf(runs, { CUDASIM_CC: '9.0' });
  return { turing: firstOfEach(turing), newer: firstOfEach(newer) };
}

/** The occupancy of a launch of a compiled kernel, 0 to 1. */
export function launchOccupancy(kernel: CompiledKernel, launch: Launch): number {
  return occupancyOf(kernel.architecture as Architecture, {
    registers: kernel.registers,
    threads: launch.block.reduce((product, size) => product * size, 1),
    sharedMemory: kernel.staticSharedMemory + launch.dynamic_shared_bytes,
  });
}

const traffic = ['Bytes requested', 'Bytes unique'];
const heads = ['Kernel', 'Run', 'Block', 'Dynamic shared', 'Static shared', ...traffic];

/** The report: a row for every kernel that was launched, and the names of those that were not. */
export function reportOf(
  names: readonly string[],
  compiled: readonly CompiledKernel[],
  { turing, newer }: Observations,
): string {
  const rows = names.flatMap((name): (string | number)[][] => {
    const launch = newer.get(name);
    if (launch === undefined) return [];
    const cells = architectureNames.map((architecture) => {
      const kernel = compiled.find((one) => one.name === name && one.architecture === architecture);
      const there = (architecture === 'sm_75' ? turing : newer).get(name);
      if (kernel === undefined) return 'not built';
      if (there === undefined) return `${kernel.registers}, –`;
      return `${kernel.registers}, ${Math.round(100 * launchOccupancy(kernel, there))}%`;
    });
    const staticShared = compiled.find((kernel) => kernel.name === name)?.staticSharedMemory;
    const { run, block, dynamic_shared_bytes: dynamicShared } = launch;
    const [x = 1, y = 1] = block;
    const bytes = [requestedBytes(launch), uniqueBytes(launch)];
    return [
      [
        `\`${name}\``,
        `${run.direction} ${run.rows} x ${run.hiddenSize}`,
        y === 1 ? x : `${x} x ${y}`,
        ...[dynamicShared, staticShared ?? '–'],
        ...bytes.map((count) => (count / (run.rows * run.hiddenSize)).toFixed(2)),
        ...cells,
      ],
    ];
  });
  const table = markdownTable({ head: [...heads, ...architectureNames], rows }, 2);
  return [...explanations(names, compiled, newer), '', table].join('\n');
}

function explanations(
  names: readonly string[],
  compiled: readonly CompiledKernel[],
  launched: ReadonlyMap<string, Launch>,
): string[] {
  const spilling = compiled
    .filter((kernel) => kernel.stackFrame + kernel.spillStores + kernel.spillLoads > 0)
    .map(({ name, architecture, stackFrame, spillStores, spillLoads }) => {
      const spills = `${spillStores} bytes of spill stores and ${spillLoads} of spill loads`;
      return `- \`${name}\` on ${architecture}: ${stackFrame} bytes of stack, ${spills}`;
    });
  const missing = names.filter((name) => !launched.has(name)).map((name) => `\`${name}\``);
  return [
    'Nothing here is a time.',
    '',
    'A column of an architecture has the registers of a thread, and the share of the multiprocessor’s warps that the run can keep busy. “–”: its devices run another kernel instead. On sm_75 a block has less shared memory, so blocks may have other sizes.',
    '',
    'Bytes are read and written bytes for each element of the matrix, on a simulated device of compute capability 9.0. _Requested_ is what threads ask for: caches serve much of it, the weight above all. _Unique_ is the least that memory moves, in sectors of 32 bytes.',
    '',
    spilling.length === 0
      ? 'No kernel has a stack frame or spills registers.'
      : `Kernels with a stack frame or spills:\n\n${spilling.join('\n')}`,
    missing.length === 0
      ? 'The runs reach every kernel of the table.'
      : `The runs do not reach ${missing.join(', ')}.`,
  ];
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
}

async function main(): Promise<void> {
  const compiled = compiledKernels();
  if (compiled.length === 0) throw new Error(`No logs of ptxas in ${logFolder}: build with nvcc`);
  if (!hasSimulator) throw new Error('No simulated GPU: build test/cudasim');
  const names = kernelNames();
  const observations = await observe();
  const codes = builtCodes();
  const launches = names.flatMap((name) => observations.newer.get(name) ?? []);
  const report = [
    reportOf(names, compiled, observations),
    '### Instructions per element',
    explanation,
    markTable(await markedLaunches(), codes),
    'The same for every kernel:',
    instructionTable(launches, codes),
  ].join('\n\n');
  const isChanged = git('status', '--porcelain', '--', 'csrc/cuda') !== '';
  const commit = `${git('rev-parse', '--short', 'HEAD')}${isChanged ? ' with changes' : ''}`;
  const origin = `By \`npm run kernel-report\` at ${commit}, ${new Date().toISOString().slice(0, 10)}.`;
  await writeGenerated(document, 'kernel-report', `${origin}\n\n${report}`);
  await writeGenerated(document, 'kernel-model', `${origin}\n\n${await modelTables()}`);
}

if (require.main === module) void main();
