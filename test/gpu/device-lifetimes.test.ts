// Lifetimes of objects on a GPU, in separate processes on a simulated one. Its driver reports on
// stderr what was freed too early, used too late or leaked.

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const environment = { RMSNORM_LIBCUDA: simulator, CUDASIM_DEVICES: '2' };

const setUp = `
  const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph } = lib;
  const { setTimeout: sleep } = require('node:timers/promises');
  const print = (value) => process.stdout.write(JSON.stringify(value));
  const values = (length) => Float32Array.from({ length }, (_, i) => i % 1000);
  const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);
  const codeOf = (call) => { try { call(); return null; } catch (error) { return error.code; } };
  const collect = async () => {
    require('node:v8').setFlagsFromString('--expose-gc');
    const gc = require('node:vm').runInNewContext('gc');
    for (let i = 0; i < 6; ++i) { gc(); await sleep(5); }
  };
`;

/** Returns what a program prints. The process must end with `code` and report nothing on stderr. */
async function outcomeOf(
  program: string,
  variables: Record<string, string> = {},
  code = 0,
): Promise<unknown> {
  const { end, stdout, stderr } = await runProgram(setUp + program, {
    ...environment,
    ...variables,
  });
  expect(stderr).toBe('');
  expect(end).toBe(code);
  return stdout === '' ? null : (JSON.parse(stdout) as unknown);
}

/** Runs a program that must print `true`. */
const holds = async (program: string, variables?: Record<string, string>) => {
  expect(await outcomeOf(program, variables)).toBe(true);
};

onSimulator('on a simulated GPU', () => {
  // Work runs only if something waits for it, so memory that is freed at once is freed too early.
  const lazily = { CUDASIM_PATIENCE_US: 'never' };

  test('objects may be disposed of in any order while work is in flight', () =>
    holds(
      `
      const [s, t] = [new Stream(), new Stream()];
      const x = DeviceBuffer.from(values(5000), { stream: s });
      const [y, z] = [new DeviceBuffer(5000, 'float32'), new DeviceBuffer(5000, 'float32')];
      const [host, target] = [new HostBuffer(5000, 'float32'), new HostBuffer(5000, 'float32')];
      host.array.set(values(5000));
      const event = new CudaEvent();
      y.copyFrom(x, { stream: s });
      event.record(s);
      t.wait(event);
      z.copyFrom(y, { stream: t });
      x.copyFrom(host, { stream: s });
      z.copyTo(target, { stream: t });
      const copy = target.array;
      const view = z.subarray(7);
      event.dispose(); host.dispose(); x.dispose(); s.dispose(); y.dispose(); z.dispose();
      t.synchronize();
      print(same(copy, values(5000)));
      view.dispose(); target.dispose(); t.dispose();
      `,
      lazily,
    ));

  test('released memory is reused without an explicit wait', () =>
    holds(
      `
      const s = new Stream();
      // Only three of these thousand buffers fit at a time. Each is used and then released.
      for (let i = 0; i < 1000; ++i) {
        const buffer = new DeviceBuffer(2500, 'float32');
        buffer.fill(i, { stream: s });
        buffer.dispose();
      }
      print(true);
      `,
      { ...lazily, CUDASIM_MEMORY: '32768' },
    ));

  test('a graph releases its memory when its launches are done', () =>
    holds(
      `
      const s = new Stream();
      for (let i = 0; i < 50; ++i) {
        const buffer = new DeviceBuffer(2500, 'float32');
        const graph = Graph.capture(s, () => { buffer.fill(i, { stream: s }); });
        buffer.dispose();
        graph.launch(s);
        graph.launch(s);
        graph.dispose();
      }
      print(true);
      `,
      { ...lazily, CUDASIM_MEMORY: '32768' },
    ));

  test('an allocation fails without memory, and succeeds when memory was released', () =>
    holds(
      `
      const big = new DeviceBuffer(7000, 'float32');
      const code = codeOf(() => new DeviceBuffer(7000, 'float32'));
      big.fill(1);
      big.dispose();
      new DeviceBuffer(7000, 'float32').dispose();
      print(code === 'ERR_CUDA_OUT_OF_MEMORY');
      `,
      { ...lazily, CUDASIM_MEMORY: '32768' },
    ));

  test('unreachable objects are collected', () =>
    holds(
      `
      (async () => {
        const make = () => {
          const s = new Stream();
          const x = DeviceBuffer.from(values(2500), { stream: s });
          const h = new HostBuffer(2500, 'float32');
          x.subarray(3, 5).copyTo(new HostBuffer(2, 'float32'), { stream: s });
          x.copyTo(h, { stream: s });
          const graph = Graph.capture(s, () => { x.copyFrom(h, { stream: s }); });
          graph.launch(s);
          new CudaEvent().record(s);
        };
        for (let i = 0; i < 3; ++i) {
          make();
          await collect();
          new DeviceBuffer(1, 'float32').dispose(); // looks for what can be freed
        }
        print(codeOf(() => new DeviceBuffer(7000, 'float32')) === null);
      })();
      `,
      { CUDASIM_MEMORY: '32768' },
    ));

  // Only 600 MB of the 4 GB fit at a time, and the JavaScript objects themselves are small.
  test('V8 knows how much memory its objects hold', () =>
    holds(
      `
      (async () => {
        for (let i = 0; i < 1000; ++i) {
          new DeviceBuffer(1 << 20, 'float32');
          await new Promise((resolve) => setImmediate(resolve));
        }
        print(true);
      })();
      `,
      { CUDASIM_MEMORY: '600000000' },
    ));

  test('the array of a disposed HostBuffer is empty, and copies from it still run', () =>
    holds(
      `
      (async () => {
        const s = new Stream();
        const host = new HostBuffer(2500, 'float32');
        const { array } = host;
        const view = new Uint8Array(array.buffer, 8, 16);
        array.set(values(2500));
        const x = new DeviceBuffer(2500, 'float32');
        x.copyFrom(host, { stream: s });
        host.dispose();
        await collect();
        print(array.length === 0 && view.length === 0 && codeOf(() => host.array) === 'ERR_DISPOSED'
          && codeOf(() => x.copyFrom(host)) === 'ERR_DISPOSED'
          && codeOf(() => structuredClone(new HostBuffer(2, 'float32').array.buffer)) === null
          && same(x.toHost({ stream: s }), values(2500)));
      })();
      `,
      lazily,
    ));

  test('a copy into an array that is detached meanwhile rejects', () =>
    holds(`
      (async () => {
        const x = DeviceBuffer.from(values(100));
        const target = new Float32Array(100);
        const promise = x.copyToAsync(target);
        structuredClone(target.buffer, { transfer: [target.buffer] });
        const { code } = await promise.catch((error) => error);
        print(code === 'ERR_INVALID_ARG_VALUE');
      })();
    `));

  test.each([
    ['work in flight', '', 0],
    ['process.exit() and pending promises', 'process.exit(7);', 7],
    ['an exit code and pending promises', 'process.exitCode = 3; process.exit();', 3],
    ['all objects disposed of', 'for (const each of all) each.dispose();', 0],
    ['an open capture', 'Graph.capture(s, () => process.exit(5));', 5],
  ])('the process ends cleanly with %s', async (_, ending, code) => {
    const program = `
      const s = new Stream({ device: 'cuda:1' });
      const x = new DeviceBuffer(2500, 'float32', { device: 'cuda:1' });
      const host = new HostBuffer(2500, 'float32');
      const event = new CudaEvent({ device: 'cuda:1' });
      x.copyFrom(values(2500), { stream: s });
      const graph = Graph.capture(s, () => { x.copyTo(host, { stream: s }); });
      graph.launch(s);
      event.record(s);
      x.toHostAsync({ stream: s });
      event.synchronizeAsync();
      s.synchronizeAsync();
      const all = [s, x, host, event, graph];
      ${ending}
    `;
    await outcomeOf(program, {}, code);
    await outcomeOf(program, code === 0 ? {} : lazily, code);
  });

  test('pending promises keep the process alive, objects do not', () =>
    holds(`
      const s = new Stream();
      const x = DeviceBuffer.from(values(100), { stream: s });
      let isDone = false;
      x.toHostAsync({ stream: s }).then((array) => { isDone = same(array, values(100)); });
      process.on('exit', () => print(isDone));
    `));

  test('an error of the device rejects pending and later promises', async () => {
    const { end, stdout, stderr } = await runProgram(
      `${setUp}
      (async () => {
        const s = new Stream();
        const x = new DeviceBuffer(100, 'float32');
        const event = new CudaEvent();
        const host = new HostBuffer(100, 'float32');
        x.copyTo(host, { stream: s }); // what was never written: an error of the simulated GPU
        event.record(s);
        const settled = await Promise.allSettled([
          s.synchronizeAsync(), x.toHostAsync({ stream: s }), event.synchronizeAsync(),
          x.copyFromAsync(values(100), { stream: s }),
        ]);
        const later = await Promise.allSettled([s.synchronizeAsync(), x.toHostAsync()]);
        const reasons = [...settled, ...later].map(({ reason }) => reason);
        for (const each of [s, x, event, host]) each.dispose();
        print(reasons.map((reason) => [reason instanceof lib.CudaError, reason.code]));
      })();`,
      { ...environment, CUDASIM_PATIENCE_US: '20000' }, // nothing fails before all is enqueued
    );
    expect(stderr).toMatch(/uninitialised/);
    expect(stderr).not.toMatch(/leak|freed-in-flight|invalid/);
    expect(end).toBe(0);
    const failed = [true, 'ERR_CUDA_LAUNCH_FAILED'];
    expect(JSON.parse(stdout)).toEqual([failed, failed, failed, failed, failed, failed]);
  });

  const worker = `
    const { Worker } = require('node:worker_threads');
    const { once } = require('node:events');
    const start = (program) => new Worker(
      'const lib = require(' + JSON.stringify(${JSON.stringify(`${__dirname}/../../lib`)}) + ');' + program,
      { eval: true, execArgv: ['-r', 'tsx/cjs'] },
    );
    const work = ${JSON.stringify(setUp)} + \`
      const { parentPort } = require('node:worker_threads');
      const go = async (device) => {
        const s = new Stream({ device });
        for (let i = 0; i < 10; ++i) {
          const x = DeviceBuffer.from(values(2500), { stream: s, dtype: 'bfloat16' });
          const y = new DeviceBuffer(2500, 'bfloat16', { device });
          const host = new HostBuffer(2500, 'bfloat16');
          y.copyFrom(x, { stream: s });
          const graph = Graph.capture(s, () => { y.copyTo(host, { stream: s }); });
          graph.launch(s);
          await s.synchronizeAsync();
          const back = new Float32Array(2500);
          await y.copyToAsync(back, { stream: s });
          if (!same(back.subarray(0, 200), values(200))) throw new Error('other bits');
          if (i % 2 === 0) x.dispose();
        }
      };
    \`;
  `;

  test('workers and the main thread may work at once, and leave their objects to the end', () =>
    holds(
      `${worker}
      (async () => {
        const workers = ['cuda:0', 'cuda:1', 'cuda:0'].map((device) => start(work + 'go("' + device + '");'));
        const s = new Stream();
        const x = DeviceBuffer.from(values(2500), { stream: s });
        const exits = workers.map((each) => once(each, 'exit'));
        for (let i = 0; i < 20; ++i) {
          if (!same(await x.toHostAsync({ stream: s }), values(2500))) throw new Error('other bits');
        }
        const codes = (await Promise.all(exits)).map(([code]) => code);
        print(codes.join() === '0,0,0' && same(x.toHost({ stream: s }), values(2500)));
      })();`,
    ));

  test('workers may be terminated with work and promises in flight', () =>
    holds(
      `${worker}
      (async () => {
        for (let i = 0; i < 4; ++i) {
          const workers = [0, 1].map((n) => start(work +
            'const forever = () => go("cuda:' + n + '").then(forever); forever(); parentPort.postMessage(0);'));
          await Promise.all(workers.map((each) => once(each, 'message')));
          await Promise.all(workers.map((each) => each.terminate()));
        }
        print(true);
      })();`,
    ));

  test('a worker may use a GPU that the main thread does not use', () =>
    holds(`${worker}
      once(start(work + 'go("cuda:1");'), 'exit').then(([code]) => print(code === 0));`));
});

test('without a GPU every constructor says why there is none', async () => {
  const program = `
    const make = [
      () => new lib.DeviceBuffer(1, 'float32'),
      () => lib.DeviceBuffer.from(Float32Array.of(1)),
      () => lib.DeviceBuffer.fromPointer(0n, 1, 'float32'),
      () => new lib.HostBuffer(1, 'float32'),
      () => new lib.Stream(),
      () => new lib.Stream({ device: 'cuda:0' }),
      () => lib.Stream.default(),
      () => lib.Stream.fromPointer(0n),
      () => new lib.CudaEvent(),
    ];
    const outcomes = make.map((call) => {
      try { call(); return null; } catch (error) { return [error instanceof lib.CudaError, error.code, error.message]; }
    });
    process.stdout.write(JSON.stringify(outcomes));
  `;
  const { end, stdout } = await runProgram(program, { RMSNORM_LIBCUDA: '/nonsense/libcuda.so.1' });
  expect(end).toBe(0);
  const outcomes = JSON.parse(stdout) as unknown[];
  expect(outcomes).toHaveLength(9);
  for (const outcome of outcomes) {
    const message = expect.stringContaining('cannot be opened') as unknown;
    expect(outcome).toEqual([true, 'ERR_CUDA_UNAVAILABLE', message]);
  }
});
