// Captures on a simulated GPU: beside other threads, beside libraries that have a stream's pointer,
// and with a driver that fails to begin or end them.

import path from 'node:path';

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const lib = (name: string) => JSON.stringify(path.join(__dirname, '../../lib', name));

/** `begin` and `end` make a capture that stays open across turns of the event loop. */
const setUp = `
  const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph } = lib;
  const print = (value) => process.stdout.write(JSON.stringify(value));
  const codeOf = (call) => {
    try { call(); return 'ok'; } catch (error) { return error.code ?? String(error); }
  };
  const isFull = (buffer, value, options) => buffer.toHost(options).every((each) => each === value);
  const { cuda } = require(${lib('gpu/cuda')});
  const { Existing } = require(${lib('gpu/object')});
  const { nativeStream } = require(${lib('gpu/stream')});
  const begin = (stream) => cuda.beginCapture(nativeStream(stream));
  const end = (stream) => Reflect.construct(Graph, [new Existing(cuda.endCapture(nativeStream(stream)), 0)]);
  const { Worker } = require('node:worker_threads');
  const { once } = require('node:events');
  const start = (program) => new Worker(
    ${JSON.stringify(`const lib = require(${lib('index')});`)} + program,
    { eval: true, execArgv: ['-r', 'tsx/cjs'] },
  );
`;

/**
 * Returns what a program prints. The process must end with code 0, and the driver must report
 * nothing on stderr.
 */
async function printed(program: string, variables: Record<string, string> = {}): Promise<unknown> {
  const environment = { RMSNORM_LIBCUDA: simulator, ...variables };
  const { end, stdout, stderr } = await runProgram(setUp + program, environment);
  expect(stderr).toBe('');
  expect(end).toBe(0);
  return JSON.parse(stdout) as unknown;
}

onSimulator('beside other threads', () => {
  const work = `
    const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph } = lib;
    const stream = new Stream();
    const x = DeviceBuffer.from(new Float32Array(1000), { stream });
    const [y, host] = [new DeviceBuffer(1000, 'float32').fill(1), new HostBuffer(1000, 'float32')];
    const event = new CudaEvent();
    event.record(stream);
    x.copyTo(host, { stream });
    y.copyFrom(x, { stream });
  `;
  test.each([
    ['with work in flight', work],
    [
      'with promises',
      `${work} stream.synchronizeAsync(); y.toHostAsync({ stream }); event.synchronizeAsync();`,
    ],
    [
      'with disposed objects',
      `${work} for (const each of [stream, x, y, host, event]) each.dispose();`,
    ],
    [
      'by process.exit() in a capture',
      `${work} Graph.capture(stream, () => { x.fill(1, { stream }); process.exit(); });`,
    ],
    [
      'after a graph',
      `${work} const graph = Graph.capture(stream, () => x.fill(1, { stream })); graph.launch(); graph.launch(stream);`,
    ],
  ])('a capture goes on when a worker ends %s', async (_, program) => {
    const outcome = await printed(`
      (async () => {
        const stream = new Stream();
        const x = new DeviceBuffer(100, 'float32').fill(1);
        Stream.default().synchronize();
        begin(stream);
        x.fill(2, { stream });
        await once(start(${JSON.stringify(program)}), 'exit');
        x.subarray(50).fill(3, { stream });
        const graph = end(stream);
        const before = isFull(x, 1);
        graph.launch(stream);
        print([before, isFull(x.subarray(0, 50), 2, { stream }), isFull(x.subarray(50), 3, { stream })]);
      })();
    `);
    expect(outcome).toEqual([true, true, true]);
  });

  // A wait on the simulated GPU runs other work meanwhile, picked at random. The wait for the
  // worker's few operations must not run all of the 500 others.
  test('a worker that ends waits only for its own work', async () => {
    const outcome = await printed(
      `
      (async () => {
        const stream = new Stream();
        const [x, y] = [new DeviceBuffer(100, 'float32'), new DeviceBuffer(100, 'float32')];
        for (let i = 0; i < 500; ++i) x.fill(i, { stream });
        const program = \`
          const y = lib.DeviceBuffer.fromPointer(\${y.pointer}n, 100, 'float32');
          y.fill(7);
          new lib.CudaEvent().record();
        \`;
        await once(start(program), 'exit');
        print([stream.query(), isFull(x, 499, { stream }), isFull(y, 7)]);
      })();
      `,
      { CUDASIM_PATIENCE_US: 'never' },
    );
    expect(outcome).toEqual([false, true, true]);
  });

  test('work that a worker had in flight has run when the worker has ended', async () => {
    const outcome = await printed(
      `
      (async () => {
        const x = new DeviceBuffer(100, 'float32').fill(1);
        Stream.default().synchronize();
        const program = \`
          const x = lib.DeviceBuffer.fromPointer(\${x.pointer}n, 100, 'float32');
          const [one, two] = [new lib.Stream(), new lib.Stream()];
          x.subarray(0, 50).fill(2, { stream: one });
          x.subarray(50).fill(2, { stream: two });
          one.dispose();
        \`;
        await once(start(program), 'exit');
        const foreign = DeviceBuffer.fromPointer(x.pointer, 100, 'float32');
        print(isFull(foreign, 2, { stream: new Stream() }));
      })();
      `,
      { CUDASIM_PATIENCE_US: 'never' },
    );
    expect(outcome).toBe(true);
  });
});

onSimulator('a stream that another library captures through its pointer', () => {
  const share = `
    const stream = new Stream();
    const other = Stream.fromPointer(stream.pointer);
    const [x, y] = [new DeviceBuffer(100, 'float32').fill(1), new DeviceBuffer(100, 'float32').fill(1)];
    const [host, event, before] = [new HostBuffer(100, 'float32'), new CudaEvent(), new CudaEvent()];
    const idle = Graph.capture(new Stream(), () => undefined);
    Stream.default().synchronize();
    before.record();
  `;

  test('is refused by every call that would join the capture', async () => {
    const outcome = await printed(`
      ${share}
      (async () => {
        const rejected = [];
        const outcomes = [];
        const graph = Graph.capture(other, () => {
          y.fill(2, { stream: other });
          outcomes.push(...[
            () => x.fill(3, { stream }),
            () => x.copyFrom(new Float32Array(100), { stream }),
            () => x.copyFrom(y, { stream }),
            () => x.copyTo(host, { stream }),
            () => x.toHost({ stream }),
            () => lib.rmsNorm(x, null, { normalizedShape: 100, out: y, stream }),
            () => lib.rmsNorm.backward(x, x, null, null, { normalizedShape: 100, dxOut: y, stream }),
            () => event.record(stream),
            () => stream.wait(before),
            () => stream.query(),
            () => stream.synchronize(),
            () => idle.launch(stream),
            () => Graph.capture(stream, () => undefined),
          ].map(codeOf));
          rejected.push(...[
            stream.synchronizeAsync(), x.toHostAsync({ stream }), x.copyFromAsync(new Float32Array(100), { stream }),
          ].map((promise) => promise.then(() => 'ok', ({ code }) => code)));
        });
        outcomes.push(...(await Promise.all(rejected)));
        const untouched = isFull(x, 1, { stream }) && isFull(y, 1, { stream });
        graph.launch(stream);
        x.fill(4, { stream });
        print([[...new Set(outcomes)], outcomes.length, untouched, isFull(y, 2, { stream }), isFull(x, 4, { stream })]);
      })();
    `);
    expect(outcome).toEqual([['ERR_INVALID_STATE'], 16, true, true, true]);
  });

  test('keeps the memory of its earlier work until that has run', async () => {
    const outcome = await printed(
      `
      ${share}
      host.array.fill(5);
      x.copyFrom(host, { stream });
      const large = new DeviceBuffer(5000, 'float32');
      large.fill(1, { stream });
      Graph.capture(other, () => { host.dispose(); large.dispose(); }).dispose();
      const right = isFull(x, 5, { stream });
      // Only one of these buffers fits at a time.
      for (let i = 0; i < 10; ++i) {
        const next = new DeviceBuffer(5000, 'float32');
        next.fill(i, { stream });
        next.dispose();
      }
      print(right);
      `,
      { CUDASIM_PATIENCE_US: 'never', CUDASIM_MEMORY: '32768' },
    );
    expect(outcome).toBe(true);
  });

  test.each(['stream', 'other'])('may be disposed of during the capture: %s', async (which) => {
    const outcome = await printed(
      `
      ${share}
      host.array.fill(5);
      x.copyFrom(host, { stream: ${which} });
      const code = codeOf(() => Graph.capture(${which === 'stream' ? 'other' : 'stream'}, () => {
        host.dispose();
        ${which}.dispose();
      }));
      print([code, isFull(x, 5)]);
      `,
      { CUDASIM_PATIENCE_US: '1000' },
    );
    // Disposing of our stream destroys its capture, which then cannot be ended. A stream of another
    // library stays.
    expect(outcome).toEqual([which === 'stream' ? 'ERR_CUDA_INVALID_HANDLE' : 'ok', true]);
  });
});

onSimulator('with a driver that fails', () => {
  const most = 400;
  const capture = (stream: string) => `
    const stream = ${stream};
    const [x, y] = [new DeviceBuffer(100, 'float32').fill(0), new DeviceBuffer(100, 'float32')];
    Stream.default().synchronize();
    let number = 0;
    const attempt = () => {
      ++number;
      const graph = Graph.capture(stream, () => {
        x.fill(number, { stream });
        y.copyFrom(x, { stream });
        new DeviceBuffer(10, 'float32').fill(1, { stream });
      });
      graph.launch(stream);
      graph.dispose();
      const after = isFull(y, number, { stream });
      x.fill(-1, { stream });
      if (!after || !isFull(x, -1, { stream })) throw new Error('other elements');
    };
    const outcomes = [];
    const isWell = () => outcomes.length >= 10 && outcomes.slice(-10).every((each) => each === 'ok');
    while (outcomes.length < ${most} && !isWell()) outcomes.push(codeOf(attempt));
    print(outcomes);
  `;

  // The distances between failing calls are chosen so that each call of an attempt fails once.
  const sparse = (name: string, first: number, distance: number) =>
    Array.from(
      { length: 25 },
      (_, i) => `${name}@${first + i * distance}:CUDA_ERROR_UNKNOWN`,
    ).join();

  test.each([
    ['cuStreamBeginCapture_v2', 1, 3],
    ['cuStreamEndCapture', 1, 3],
    ['cuGraphInstantiate_v2', 1, 3],
    ['cuGraphLaunch', 1, 3],
    ['cuCtxGetCurrent', 30, 61],
    ['cuCtxSetCurrent', 30, 121],
    ['cuEventRecord', 1, 3],
  ])('calls work again after failures of %s', async (name, first, distance) => {
    for (const stream of ['Stream.default()', 'new Stream()']) {
      const variables = { CUDASIM_FAIL: sparse(name, first, distance) };
      const outcomes = (await printed(capture(stream), variables)) as string[];
      const failed = outcomes.filter((outcome) => outcome !== 'ok');
      expect([...new Set(failed)]).toEqual(failed.length > 0 ? ['ERR_CUDA_UNKNOWN'] : []);
      // A fence that cannot be recorded is recorded later. Every other failure fails a call.
      if (name !== 'cuEventRecord') expect(failed.length).toBeGreaterThan(3);
      expect(outcomes.slice(-10)).toEqual(Array(10).fill('ok'));
    }
  });

  test('a capture that the driver repeatedly fails to end is over as soon as possible', async () => {
    const fails = Array.from(
      { length: 8 },
      (_, i) => `cuStreamEndCapture@${i + 1}:CUDA_ERROR_UNKNOWN`,
    );
    const outcome = await printed(
      `
      const stream = Stream.default();
      const x = new DeviceBuffer(100, 'float32').fill(1);
      stream.synchronize();
      const event = new CudaEvent();
      const outcomes = [
        () => Graph.capture(stream, () => x.fill(2)),
        () => x.fill(3),
        () => stream.synchronize(),
        () => event.record(stream),
        () => x.toHost(),
        () => Graph.capture(stream, () => x.fill(2)),
        () => lib.rmsNorm(x, null, { normalizedShape: 100 }),
        () => x.fill(4),
      ].map(codeOf);
      print([outcomes, isFull(x, 4)]);
      `,
      { CUDASIM_FAIL: fails.join() },
    );
    const failed = Array(7).fill('ERR_CUDA_UNKNOWN') as string[];
    expect(outcome).toEqual([[...failed, 'ok'], true]);
  });
});
