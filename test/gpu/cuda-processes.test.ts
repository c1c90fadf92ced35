// Several threads of a process use a GPU, and release it when they end. Runs on a simulated GPU,
// whose driver reports everything that is left when a context ends.

import path from 'node:path';

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const environment = {
  RMSNORM_LIBCUDA: simulator,
  RMSNORM_CUDA_CHUNK_BYTES: '3000',
  CUDASIM_DEVICES: '2',
};

/** Loads the addon, and defines calls on both devices with known results. */
const setUp = `
  const root = ${JSON.stringify(path.join(__dirname, '../..'))};
  const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(root);
  const x = Float32Array.from({ length: 2100 }, (_, i) => Math.sin(i));
  const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
  const calls = nativeCalls(binding);
  const settingsOf = (device) => ({ hiddenSize: 30, device: device === 'cpu' ? -1 : device });
  const run = (device) => {
    const [y, dx, dweight] = [2100, 2100, 30].map((length) => new Float32Array(length));
    calls.forward({ x, out: y }, settingsOf(device));
    calls.backward({ dy: y, x, dxOut: dx, dweightOut: dweight }, settingsOf(device));
    return Buffer.concat([y, dx, dweight].map(({ buffer }) => Buffer.from(buffer)));
  };
  const start = async (device) => {
    const [, , y] = await calls.forwardAsync({ x, out: true }, settingsOf(device));
    return Buffer.from(y);
  };
  const expected = run('cpu');
  const check = (bytes) => {
    if (!bytes.equals(expected.subarray(0, bytes.length))) throw new Error('other bits');
  };
`;

const worker = `
  const { Worker } = require('node:worker_threads');
  const { once } = require('node:events');
  const work = ${JSON.stringify(setUp)};
`;

onSimulator('on a simulated GPU', () => {
  test.each([
    ['calls on both devices', 'check(run(0)); check(run(1)); check(run(0));', 0],
    [
      'asynchronous calls on both devices at once',
      'for (let i = 0; i < 8; ++i) start(i % 2).then(check);',
      0,
    ],
    [
      'process.exit() with calls in flight',
      'for (let i = 0; i < 8; ++i) start(i % 2); process.exit(7);',
      7,
    ],
    [
      'workers that end while the main thread goes on',
      `${worker}
      const ended = [0, 1, 0].map((device) =>
        once(new Worker(work + 'for (let i = 0; i < 3; ++i) check(run(' + device + '));', { eval: true }), 'exit'));
      (async () => {
        for (const exit of ended) if ((await exit)[0] !== 0) process.exit(1);
        check(run(0));
      })();`,
      0,
    ],
    [
      'workers terminated with calls in flight',
      `${worker}
      (async () => {
        const busy = work + 'const go = () => start(0).then(go); go(); run(1); require("node:worker_threads").parentPort.postMessage(0);';
        const workers = [0, 1].map(() => new Worker(busy, { eval: true }));
        await Promise.all(workers.map((each) => once(each, 'message')));
        await Promise.all(workers.map((each) => each.terminate()));
        check(run(1));
      })();`,
      0,
    ],
  ])('nothing is left after %s', async (_, program, code) => {
    const { end, stderr } = await runProgram(setUp + program, environment);
    expect(stderr).toBe('');
    expect(end).toBe(code);
  });

  test('nothing is left after a worker has used the GPU alone', async () => {
    const program = `${worker} new Worker(work + 'check(run(1));', { eval: true });`;
    expect(await runProgram(program, environment)).toEqual({ end: 0, stdout: '', stderr: '' });
  });
});
