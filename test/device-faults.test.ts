// Objects of a GPU whose driver's calls fail, on a simulated one: the error says which call it was,
// nothing leaks, and what comes after works.

import { hasSimulator, runProgram, simulator } from './processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const attempts = 400;

/**
 * Uses every kind of object again and again, and prints what came of each time: 'ok', 'other
 * elements', or the error.
 */
const persist = `
  const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph, CudaError } = lib;
  const values = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i));
  const same = (a, b) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
  const use = async (own) => {
    const [one, two] = [own(new Stream()), own(new Stream())];
    const [written, read] = [own(new CudaEvent()), own(new CudaEvent())];
    const a = own(DeviceBuffer.from(values, { stream: one }));
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
    const half = values.map((value, i) => (i < 500 ? value : 7));
    if (!same(host.array, half)) return 'other elements';
    if (!same(await a.toHostAsync({ stream: one }), half.map((value, i) => (i < 250 ? 3 : value)))) {
      return 'other elements';
    }
    two.synchronize();
    return same(b.toHost({ stream: two }), half) ? 'ok' : 'other elements';
  };
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

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly driverError: string | null;
  readonly driverMessage: string | null;
}

/** The outcomes of `persist`, in a process that must end well and without a word from the checks. */
async function outcomesOf(variables: Record<string, string>): Promise<('ok' | Failure)[]> {
  const { end, stdout, stderr } = await runProgram(persist, {
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
 * Calls that fail: some of each function, and one after another always further apart, so that each
 * call of an attempt is hit in turn.
 */
function failures(error: string): string {
  let call = 500;
  const distances = Array.from({ length: 180 }, (_, i) => 1 + (i % 90));
  return [
    ...calls.flatMap((name) => [5, 6, 7, 8].map((count) => `${name}@${count}:${error}`)),
    ...distances.map((distance) => `*@${(call += distance)}:${error}`),
  ].join();
}

/** What `persist` needs, besides room, which is asked for again once there is none. */
const calls = [
  'cuEventCreate',
  'cuEventRecord',
  'cuGraphInstantiateWithFlags',
  'cuGraphLaunch',
  'cuMemcpyDtoDAsync_v2',
  'cuMemcpyDtoHAsync_v2',
  'cuMemcpyHtoDAsync_v2',
  'cuMemsetD32Async',
  'cuStreamAddCallback',
  'cuStreamBeginCapture_v2',
  'cuStreamCreate',
  'cuStreamSynchronize',
  'cuStreamWaitEvent',
];

onSimulator('on a simulated GPU', () => {
  test('nothing goes wrong', async () => {
    expect(await outcomesOf({})).toEqual(Array(attempts).fill('ok'));
  });

  test.each(['OUT_OF_MEMORY', 'NOT_SUPPORTED'])(
    'every call fails now and then, by CUDA_ERROR_%s',
    async (name) => {
      const driverError = `CUDA_ERROR_${name}`;
      const outcomes = await outcomesOf({ CUDASIM_FAIL: failures(driverError) });
      expect(namesOf(outcomes)).toEqual(expect.arrayContaining(calls));
      for (const outcome of outcomes) {
        if (outcome === 'ok') continue;
        expect(outcome).toMatchObject({ code: `ERR_CUDA_${name}`, driverError });
      }
      expect(outcomes.slice(-10)).toEqual(Array(10).fill('ok'));
    },
  );
});
