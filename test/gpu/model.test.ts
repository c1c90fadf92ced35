// The model of a call's minimum time, and the policy judged by it.

import { gpus, issuedPerClock, type Gpu } from '../../scripts/report/gpus';
import { runText } from '../../scripts/report/instruction-counts';
import { builtCodes } from '../../scripts/report/launched-code';
import { timeOf, type ModelLaunch } from '../../scripts/report/model';
import { ModelledCalls } from '../../scripts/report/modelled-calls';
import type { Run } from '../../scripts/traced-runs';
import { hasSimulator } from '../support/processes';

jest.setTimeout(300_000); // calls are executed on the simulated GPU

function gpuOf(name: string): Gpu {
  const gpu = gpus.find((one) => one.name === name);
  if (gpu === undefined) throw new Error(`There is no ${name}`);
  return gpu;
}

describe('the model', () => {
  const gpu = gpuOf('H100');
  /** A launch that does nothing: full waves of blocks, four of them on each multiprocessor. */
  const idle: ModelLaunch = {
    blocks: 4 * 132 * 100,
    threads: 256,
    registers: 64,
    sharedMemory: 0,
    steps: 0,
    instructions: 0,
    bytesRead: 0,
    bytesWritten: 0,
    l2Bytes: 0,
  };
  const millisecondOf = {
    DRAM: { bytesRead: 2.35e9, bytesWritten: 1e9 },
    L2: { l2Bytes: 5.6e9 },
    issue: { instructions: issuedPerClock * 132 * 1.98e6 },
    latency: { steps: 1e-3 / 0.8e-6 / 100 },
  };

  test.each(Object.entries(millisecondOf))('takes as long as %s', (binds, work) => {
    const time = timeOf(gpu, [{ ...idle, ...work }]);
    expect(1e3 * time.seconds).toBeCloseTo(1);
    expect(time.binds).toBe(binds);
  });

  test('takes as long for uneven waves as for full ones', () => {
    const work = { ...idle, ...millisecondOf.DRAM };
    expect(timeOf(gpu, [{ ...work, blocks: 4 * 132 + 1 }])).toMatchObject({ binds: 'waves' });
    const few = timeOf(gpu, [{ ...work, blocks: 33 }]);
    expect(1e3 * few.seconds).toBeCloseTo(4);
    expect(few.binds).toBe('waves');
    // Fewer blocks than the multiprocessors can hold are one wave, spread over all of them.
    expect(1e3 * timeOf(gpu, [{ ...work, blocks: 2 * 132 }]).seconds).toBeCloseTo(1);
  });

  test('reads data of the previous launch from the L2 cache if half the cache holds it', () => {
    const small = { ...idle, bytesRead: 20e6 };
    const large = { ...idle, bytesRead: 60e6 };
    expect(timeOf(gpu, [small, small]).seconds).toBeCloseTo(20e6 / 3.35e12, 9);
    expect(timeOf(gpu, [large, large]).seconds).toBeCloseTo(120e6 / 3.35e12, 9);
  });

  test('refuses a call without a launch', () => {
    expect(() => timeOf(gpu, [])).toThrow(RangeError);
  });
});

const runs = (['forward', 'backward'] as const).flatMap((direction) =>
  (['float32', 'bfloat16'] as const).flatMap((dtype) =>
    [16, 64, 512, 4096, 16_384].flatMap((rows) =>
      [1024, 4096, 8192].map((hiddenSize): Run => ({ direction, dtype, rows, hiddenSize })),
    ),
  ),
);
const built = new Set(builtCodes().map(({ architecture }) => architecture));
const measured = ['A100', 'H100', 'B200'].map(gpuOf);
const isPossible = hasSimulator && measured.every(({ architecture }) => built.has(architecture));
const unless = hasSimulator
  ? '(skipped: built without nvcc)'
  : '(skipped: test/cudasim is not built)';

/** Calls whose modelled time may be up to 1.25 times the best. Fewer entries are better. */
const known = new Set(['B200: backward float32, 4096 x 1024']);

(isPossible ? describe : describe.skip)(`the policy ${isPossible ? '' : unless}`, () => {
  test.each(measured)('takes at most 1.1 times the best modelled time on $name', async (gpu) => {
    const calls = await ModelledCalls.on(gpu, runs);
    const own = await calls.launches(runs);
    // The alternatives are the launches that the policy chooses for smaller and larger GPUs.
    const others = await Promise.all([1, 16, 1024].map((count) => calls.launches(runs, count)));
    const worse = runs.flatMap((run, i) => {
      const name = `${gpu.name}: ${runText(run)}`;
      const launches = own[i];
      if (launches === undefined) return [`${name}: not modelled`];
      const { seconds, binds } = timeOf(gpu, launches);
      const times = others.flatMap((other) => (other[i] ? [timeOf(gpu, other[i]).seconds] : []));
      const ratio = seconds / Math.min(seconds, ...times);
      return ratio > (known.has(name) ? 1.25 : 1.1)
        ? [`${name}: ${ratio} of the best, ${binds}`]
        : [];
    });
    expect(worse).toEqual([]);
  });
});
