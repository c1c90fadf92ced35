// Objects of a GPU whose driver calls fail, on a simulated one: the error names the call, nothing
// leaks, and later calls work.

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const attempts = 400;

/**
 * A program that calls `use` repeatedly, and prints the outcome of each attempt: 'ok', 'other
 * elements', or the error. `own` registers an object that is disposed of at the end of the attempt.
 */
const persist = (use: string) => `
  const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph, CudaError, rmsNorm } = lib;
  const values = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(i * step));
  const same = (a, b) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
  ${use}
  const attempt = async () => {
    const owned = [];
    try {
      return await use((object) => {
        owned.push(object);
        return object;
      });
    } catch (error) {
      if (!(error instanceof CudaError)) return String(error.stack);
      const { code, message, driverError, driverMessage } = error;
      return { code, message, driverError, driverMessage };
    } finally {
      for (const object of owned.reverse()) object.dispose();
    }
  };
  (async () => {
    const outcomes = [];
    while (outcomes.length < ${attempts}) outcomes.push(await attempt());
    process.stdout.write(JSON.stringify(outcomes));
  })();
`;

/** Every kind of object. */
const useObjects = `
  const use = async (own) => {
    const [one, two] = [own(new Stream()), own(new Stream())];
    const [written, read] = [own(new CudaEvent()), own(new CudaEvent())];
    const a = own(DeviceBuffer.from(values(1000, 1), { stream: one }));
    const b = own(new DeviceBuffer(1000, 'float32'));
    const host = own(new HostBuffer(1000, 'float32'));
    written.record(one);
    two.wait(written);
    b.copyFrom(a, { stream: two });
    own(b.subarray(500)).fill(7, { stream: two });
    b.copyTo(host, { stream: two });
    read.record(two);
    one.wait(read);
    const graph = own(Graph.capture(one, () => {
      a.copyFrom(b, { stream: one });
      own(a.subarray(0, 250)).fill(3, { stream: one });
    }));
    graph.launch(one);
    graph.launch(one);
    await read.synchronizeAsync();
    const half = values(1000, 1).map((value, i) => (i < 500 ? value : 7));
    if (!same(host.array, half)) return 'other elements';
    if (!same(await a.toHostAsync({ stream: one }), half.map((value, i) => (i < 250 ? 3 : value)))) {
      return 'other elements';
    }
    two.synchronize();
    return same(b.toHost({ stream: two }), half) ? 'ok' : 'other elements';
  };
`;

/** Forward and backward on device memory, for short rows and for rows that need a workspace. */
const useOperator = `
  const shapes = [[20, 30], [1, 20000]];
  const problems = shapes.map(([rows, hiddenSize]) => {
    const [x, dy] = [0.1, 0.7].map((step) => values(rows * hiddenSize, step));
    const weight = values(hiddenSize, 3);
    const { y, rstd } = rmsNorm.forward(x, weight, { device: 'cpu' });
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { device: 'cpu' });
    return { inputs: [x, dy, weight], expected: [y, rstd, dx, dweight, y] };
  });
  let turn = 0;
  const use = async (own) => {
    const { inputs, expected } = problems[turn++ % problems.length];
    const stream = own(new Stream());
    const [x, dy, weight] = inputs.map((array) => own(DeviceBuffer.from(array, { stream })));
    const { y, rstd } = rmsNorm.forward(x, weight, { stream });
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { stream });
    const out = own(new DeviceBuffer(x.length, 'float32'));
    const graph = own(Graph.capture(stream, () => rmsNorm(x, weight, { out, stream })));
    graph.launch(stream);
    const results = [y, rstd, dx, dweight, out].map((buffer) => own(buffer).toHostAsync({ stream }));
    const arrays = await Promise.all(results);
    return arrays.every((array, i) => same(array, expected[i])) ? 'ok' : 'other elements';
  };
`;

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly driverError: string | null;
  readonly driverMessage: string | null;
}

/**
 * The outcomes of `persist`. The process must end with code 0, and the simulator must report
 * nothing on stderr.
 */
async function outcomesOf(
  use: string,
  variables: Record<string, string> = {},
): Promise<('ok' | Failure)[]> {
  const { end, stdout, stderr } = await runProgram(persist(use), {
    RMSNORM_LIBCUDA: simulator,
    ...variables,
  });
  expect(stderr).toBe('');
  expect(end).toBe(0);
  return JSON.parse(stdout) as ('ok' | Failure)[];
}

/** The functions that the errors name. */
function namesOf(outcomes: readonly ('ok' | Failure)[]): string[] {
  const names = outcomes.map((outcome) =>
    outcome === 'ok' ? '' : outcome.message.replace(/ failed: .*/, ''),
  );
  return [...new Set(names)].filter((name) => name !== '').sort();
}

/**
 * A list of failing calls: some of each function, and then single calls at growing distances, so
 * that each call of an attempt fails in turn.
 */
function failures(functions: readonly string[], error: string): string {
  let call = 5000; // after the failures of each function
  const distances = Array.from({ length: 120 }, (_, i) => 1 + (i % 60));
  return [
    ...functions.flatMap((name) => [5, 6, 7, 8].map((count) => `${name}@${count}:${error}`)),
    ...distances.map((distance) => `*@${(call += distance)}:${error}`),
  ].join();
}

/** Functions that both programs call. Allocations are left out, because the addon retries them. */
const common = [
  'cuGraphInstantiate_v2',
  'cuGraphLaunch',
  'cuMemcpyDtoHAsync_v2',
  'cuMemcpyHtoDAsync_v2',
  'cuStreamAddCallback',
  'cuStreamBeginCapture_v2',
  'cuStreamCreate',
];
const ofObjects = [
  'cuEventCreate',
  'cuEventRecord',
  'cuMemcpyDtoDAsync_v2',
  'cuMemsetD32Async',
  'cuStreamSynchronize',
  'cuStreamWaitEvent',
];

onSimulator.each([
  ['objects', useObjects, [...common, ...ofObjects]],
  ['forward and backward', useOperator, [...common, 'cuLaunchKernel']],
])('%s on a simulated GPU', (_, use, functions) => {
  test('succeed without injected failures', async () => {
    expect(await outcomesOf(use)).toEqual(Array(attempts).fill('ok'));
  });

  test.each(['OUT_OF_MEMORY', 'NOT_SUPPORTED'])(
    'work again after calls that fail with CUDA_ERROR_%s',
    async (name) => {
      const driverError = `CUDA_ERROR_${name}`;
      const outcomes = await outcomesOf(use, { CUDASIM_FAIL: failures(functions, driverError) });
      expect(namesOf(outcomes)).toEqual(expect.arrayContaining(functions));
      // The second error in a capture may say that the first has invalidated it.
      const driverErrors = [driverError, 'CUDA_ERROR_STREAM_CAPTURE_INVALIDATED'];
      for (const outcome of outcomes) {
        if (outcome === 'ok') continue;
        expect(driverErrors).toContain(outcome.driverError);
        expect(outcome.code).toBe(outcome.driverError?.replace('CUDA_ERROR', 'ERR_CUDA'));
      }
      expect(outcomes.slice(-10)).toEqual(Array(10).fill('ok'));
    },
  );

  // Releasing something needs the context, too. If that fails, it must be released later, and not
  // leak.
  test.each(['cuCtxGetCurrent', 'cuCtxSetCurrent', 'cuStreamEndCapture'])(
    'work again after failures of %s',
    async (name) => {
      let total = 0;
      for (const distance of name === 'cuStreamEndCapture' ? [2, 3] : [36, 37, 41]) {
        const fails = Array.from(
          { length: 60 },
          (_, i) => `${name}@${5 + i * distance}:CUDA_ERROR_UNKNOWN`,
        );
        const outcomes = await outcomesOf(use, { CUDASIM_FAIL: fails.join() });
        const failed = outcomes.filter((outcome) => outcome !== 'ok');
        total += failed.length;
        for (const outcome of failed) expect(outcome).toMatchObject({ code: 'ERR_CUDA_UNKNOWN' });
        expect(outcomes.slice(-10)).toEqual(Array(10).fill('ok'));
      }
      // Most of these calls only leave a context or release something, so that no caller sees the
      // failure.
      expect(total).toBeGreaterThan(3);
    },
  );
});
