// The CUDA kernels as compiled: registers, spills and the resulting occupancy. Needs the logs of a
// build with nvcc, but no GPU.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { elementBytes } from '../../bench/cases/cases';
import { compiledKernels, kernelNames, type CompiledKernel } from '../../scripts/compiled-kernels';
import { withGenerated } from '../../scripts/generated-text';
import { launchOccupancy, reportOf } from '../../scripts/kernel-report';
import { blocksOf, occupancyOf, type Architecture } from '../../scripts/occupancy';
import { launchesOf, type Launch, type Run } from '../../scripts/traced-runs';
import { addon, hasSimulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const compiled = compiledKernels();
const architectures = [...new Set(compiled.map((kernel) => kernel.architecture))];

test('the reasons in the kernel table are comments and not part of the addon', () => {
  const table = readFileSync(
    path.join(__dirname, '../../csrc/cuda/kernels/kernel_table.h'),
    'utf8',
  );
  const reasons = table.match(/(derived|simulated): .{20}/g) ?? [];
  expect(reasons.length).toBeGreaterThan(5);
  const contents = readFileSync(addon, 'latin1');
  expect(reasons.filter((reason) => contents.includes(reason))).toEqual([]);
});

test('kernels use PTX and intrinsics only through primitives.cuh, except those that it names', () => {
  const folder = path.join(__dirname, '../../csrc/cuda/kernels');
  const files = readdirSync(folder).filter((name) => name !== 'primitives.cuh');
  const text = files.map((name) => readFileSync(path.join(folder, name), 'utf8')).join('\n');
  // Skips qualifiers and compiler built-ins; everything else is a call.
  const calls = text.matchAll(/\b(__(?!launch_bounds__|is_same)[a-z]\w*|asm)\b(?: volatile)?\(/g);
  const intrinsics = new Set(Array.from(calls, ([, name]) => name));
  expect([...intrinsics].sort()).toEqual(['__frcp_rn', '__syncthreads', '__syncthreads_or']);
});

describe('occupancy', () => {
  // Expected numbers from NVIDIA's cuda_occupancy.h (CUDA 13.0). Shared memory is static plus
  // dynamic.
  test.each([
    ['sm_75', 64, 256, 64, 4],
    ['sm_75', 33, 1024, 0, 1],
    ['sm_75', 64, 512, 65536, 1],
    ['sm_80', 64, 512, 65800, 2],
    ['sm_80', 32, 288, 5096, 7],
    ['sm_86', 40, 1024, 0, 1],
    ['sm_86', 16, 32, 0, 16],
    ['sm_86', 64, 512, 49152, 2],
    ['sm_86', 64, 512, 100352, 1],
    ['sm_90', 56, 256, 64, 4],
    ['sm_90', 72, 512, 66064, 1],
    ['sm_90', 129, 512, 0, 0],
    ['sm_90', 24, 160, 150000, 1],
    ['sm_100', 113, 384, 20480, 1],
    ['sm_120', 80, 256, 33000, 3],
    ['sm_120', 16, 64, 1, 24],
    ['sm_120', 32, 128, 150000, 0],
  ] as const)(
    '%s, %d registers, %d threads, %d bytes: %d blocks',
    (architecture, registers, threads, sharedMemory, blocks) => {
      expect(blocksOf(architecture, { registers, threads, sharedMemory })).toBe(blocks);
    },
  );

  test('is the share of warps, where a partly used one counts as a whole', () => {
    const needs = { registers: 55, threads: 256, sharedMemory: 64 };
    expect(occupancyOf('sm_80', needs)).toBe(0.5);
    expect(occupancyOf('sm_86', needs)).toBeCloseTo(2 / 3);
    expect(occupancyOf('sm_75', { ...needs, threads: 225 })).toBe(1);
    expect(occupancyOf('sm_90', { ...needs, threads: 1025 })).toBe(0);
  });
});

const onLogs = compiled.length > 0 ? describe : describe.skip;
const unlessLogged = compiled.length > 0 ? '' : ' (skipped: built without nvcc, which logs them)';

onLogs(`kernels as compiled${unlessLogged}`, () => {
  test('are those of the table, on every architecture of the build', () => {
    const names = kernelNames();
    expect(names.length).toBeGreaterThan(0);
    expect(new Set(names).size).toBe(names.length);
    for (const architecture of architectures) {
      const there = compiled.filter((kernel) => kernel.architecture === architecture);
      expect({ architecture, names: there.map(({ name }) => name).sort() }).toEqual({
        architecture,
        names: names.toSorted(),
      });
    }
  });

  test('keep everything in registers', () => {
    const inMemory = compiled.filter(
      (kernel) => kernel.stackFrame + kernel.spillStores + kernel.spillLoads > 0,
    );
    expect(inMemory).toEqual([]);
  });
});

const onBoth = compiled.length > 0 && hasSimulator ? describe : describe.skip;
const unlessBoth = hasSimulator ? unlessLogged : ' (skipped: test/cudasim is not built)';

onBoth(`rows of 4096${unlessBoth}`, () => {
  const leastOccupancy = 0.5;
  const leastBytes = 128 * 1024;
  const runs = (['float32', 'bfloat16'] as const).flatMap((dtype) =>
    (['forward', 'backward'] as const).map((direction): Run => ({
      direction,
      rows: 256,
      hiddenSize: 4096,
      dtype,
    })),
  );

  /**
   * Bytes of x and dy in flight to a multiprocessor's shared memory, for a kernel that copies whole
   * rows.
   */
  function bytesOnTheirWay(kernel: CompiledKernel, launch: Launch): number {
    const { block, dynamic_shared_bytes: dynamic, run } = launch;
    const rowBytes = 2 * run.hiddenSize * elementBytes[run.dtype];
    const blocks = blocksOf(kernel.architecture as Architecture, {
      registers: kernel.registers,
      threads: block.reduce((product, size) => product * size, 1),
      sharedMemory: kernel.staticSharedMemory + dynamic,
    });
    return blocks * Math.floor(dynamic / rowBytes) * rowBytes;
  }

  /** Architectures, with the compute capability of a simulated device that gets their launches. */
  const capabilities = [
    ['sm_80', '8.0'],
    ['sm_90', '9.0'],
    ['sm_100', '10.0'],
  ] as const;
  const built = capabilities.filter(([architecture]) => architectures.includes(architecture));

  (built.length > 0 ? test.each(built) : test.skip.each(capabilities))(
    'keep multiprocessors of %s busy',
    async (architecture, capability) => {
      // With few multiprocessors, each has as many blocks as it can hold.
      const device = { CUDASIM_CC: capability, CUDASIM_SMS: '4', CUDASIM_EXECUTE: '0' };
      const launches = await launchesOf(runs, device);
      const ofRows = launches.filter(({ kernel }) => !kernel.startsWith('reduce_dweight'));
      expect(ofRows.map(({ run }) => run)).toEqual(runs);
      for (const launch of ofRows) {
        const kernel = compiled.find(
          (one) => one.name === launch.kernel && one.architecture === architecture,
        ) as CompiledKernel;
        const occupancy = launchOccupancy(kernel, launch);
        const bytes = bytesOnTheirWay(kernel, launch);
        const isEnough =
          launch.run.direction === 'forward' ? occupancy >= leastOccupancy : bytes >= leastBytes;
        expect({ ...kernel, occupancy, bytes, isEnough }).toMatchObject({ isEnough: true });
      }
    },
  );
});

describe('the report', () => {
  const kernel: CompiledKernel = {
    name: 'scale',
    architecture: 'sm_80' satisfies Architecture,
    registers: 64,
    staticSharedMemory: 128,
    stackFrame: 0,
    spillStores: 0,
    spillLoads: 0,
  };
  const launch: Launch = {
    run: { direction: 'forward', rows: 2, hiddenSize: 32, dtype: 'float32' },
    kernel: 'scale',
    grid: [1, 1, 1],
    block: [128, 2, 1],
    static_shared_bytes: 128,
    dynamic_shared_bytes: 64,
    barriers: 1,
    shared_requests: 0,
    shared_wavefronts: 0,
    warps: [],
    buffers: [
      {
        bytes: 1024,
        bytes_read: 512,
        bytes_written: 256,
        read_sectors: 8,
        written_sectors: 8,
        read_requests: 4,
        write_requests: 2,
        sectors_requested: 24,
        accesses_by_width: [0, 0, 0, 0, 48],
      },
    ],
  };
  const newer = new Map([['scale', launch]]);
  const observations = { turing: new Map<string, Launch>(), newer };

  test('has a row for each kernel that ran, and names those that did not', () => {
    const report = reportOf(['scale', 'fold'], [kernel], observations);
    expect(report).toContain(
      '| `scale` | forward 2 x 32 | 128 x 2 | 64 | 128 | 12.00 | 8.00 | not built | 64, 50% |',
    );
    expect(report).not.toContain('| `fold`');
    expect(report).toContain('do not reach `fold`');
    expect(report).toContain('No kernel has a stack frame');
  });

  test('names kernels that spill', () => {
    const spilling = { ...kernel, stackFrame: 16, spillStores: 4, spillLoads: 8 };
    expect(reportOf(['scale'], [spilling], observations)).toContain(
      '- `scale` on sm_80: 16 bytes of stack, 4 bytes of spill stores and 8 of spill loads',
    );
  });

  test('replaces the previous report and nothing else', () => {
    const text = 'a\n<!-- kernel-report -->\nold\n<!-- /kernel-report -->\nb\n';
    expect(withGenerated(text, 'kernel-report', 'new')).toBe(
      'a\n<!-- kernel-report -->\n\nnew\n\n<!-- /kernel-report -->\nb\n',
    );
    expect(() => withGenerated('<!-- a -->', 'a', 'new')).toThrow('lacks the marks');
  });
});
