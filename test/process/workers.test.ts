// The addon in worker threads and at the end of processes. Workers and child processes load it
// themselves, as any program does, since jest's transforms do not reach them.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { Worker } from 'node:worker_threads';

import { rmsNorm } from '../../lib';
import { makeCase } from '../support/cases';
import { expectSameBits } from '../support/support';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const root = path.join(__dirname, '../..');
const loadBinding = `
  const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(${JSON.stringify(root)});
  const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
  const calls = nativeCalls(binding);
`;

const c = makeCase({ dtype: 'float32', rows: 600, hiddenSize: 500 });
const weight = c.weight as Float32Array;
const inputs = { x: c.x as Float32Array, dy: c.dy as Float32Array, weight };
const expected = rmsNorm.forward(inputs.x, weight);
const expectedBack = rmsNorm.backward(inputs.dy, inputs.x, weight, expected.rstd);

interface Results {
  readonly y: Float32Array;
  readonly rstd: Float32Array;
  readonly dx: Float32Array;
  readonly dweight: Float32Array;
}

/** Runs forward and backward ten times, and posts the last results. */
const compute = `
  ${loadBinding}
  const { parentPort, workerData } = require('node:worker_threads');
  const { x, dy, weight } = workerData;
  const [y, dx] = [new Float32Array(x.length), new Float32Array(x.length)];
  const rstd = new Float32Array(x.length / weight.length);
  const dweight = new Float32Array(weight.length);
  for (let i = 0; i < 10; ++i) {
    for (const array of [y, dx, rstd, dweight]) array.fill(NaN);
    const settings = { hiddenSize: weight.length };
    calls.forward({ x, weight, out: y, rstdOut: rstd }, settings);
    calls.backward({ dy, x, weight, rstd, dxOut: dx, dweightOut: dweight }, settings);
  }
  parentPort.postMessage({ y, rstd, dx, dweight });
`;

/** Keeps calls in flight, and posts a message once they are. */
const keepBusy = `
  ${loadBinding}
  const { parentPort, workerData } = require('node:worker_threads');
  const { x, dy, weight } = workerData;
  const settings = { hiddenSize: weight.length };
  const start = () => Promise.all([
    calls.forwardAsync({ x, weight, out: true, rstdOut: true }, settings),
    calls.backwardAsync({ dy, x, weight, dxOut: true, dweightOut: true }, settings),
  ]).then(start);
  for (let i = 0; i < 4; ++i) start();
  parentPort.postMessage('busy');
`;

const start = (program: string) => new Worker(program, { eval: true, workerData: inputs });

async function resultsOf(worker: Worker): Promise<Results> {
  const [results] = (await once(worker, 'message')) as [Results];
  return results;
}

function expectResults({ y, rstd, dx, dweight }: Results): void {
  expectSameBits(y, expected.y);
  expectSameBits(rstd, expected.rstd);
  expectSameBits(dx, expectedBack.dx);
  expectSameBits(dweight, expectedBack.dweight);
}

test('four workers and the main thread compute at once', async () => {
  const workers = Array.from({ length: 4 }, () => start(compute));
  const exits = workers.map((worker) => once(worker, 'exit'));
  const results = workers.map(resultsOf);
  for (let i = 0; i < 20; ++i) {
    expectSameBits(rmsNorm(inputs.x, weight), expected.y);
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const result of results) expectResults(await result);
  for (const exit of exits) expect(await exit).toEqual([0]);
});

test('the main thread and the next worker can use the addon after a worker ends', async () => {
  for (let i = 0; i < 3; ++i) {
    const worker = start(compute);
    const exit = once(worker, 'exit');
    expectResults(await resultsOf(worker));
    expect(await exit).toEqual([0]);
    expectSameBits(rmsNorm(inputs.x, weight), expected.y);
  }
});

test('workers can be terminated with calls in flight', async () => {
  for (let i = 0; i < 5; ++i) {
    const workers = [start(keepBusy), start(keepBusy)];
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    expect(await Promise.all(workers.map((worker) => worker.terminate()))).toEqual([1, 1]);
    expectSameBits(rmsNorm(inputs.x, weight), expected.y);
  }
  expectSameBits(await rmsNorm.async(inputs.x, weight), expected.y);
});

/** Runs a program in a process. Returns its exit code or signal, and its output. */
function run(program: string): Promise<{ end: unknown; output: string }> {
  return new Promise((resolve) => {
    // A process that does not end by itself gets SIGTERM after the timeout.
    execFile(process.execPath, ['-e', program], { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ end: error === null ? 0 : (error.signal ?? error.code), output: stdout + stderr });
    });
  });
}

const bigCall = `
  ${loadBinding}
  binding.setNumThreads(4);
  const [x, w, y] = [1024 * 1024, 1024, 1024 * 1024].map((n) => new Float32Array(n).fill(1));
  const forward = () => calls.forward({ x, weight: w, out: y }, { hiddenSize: 1024, eps: 0 });
  const forwardAsync = () => calls.forwardAsync({ x, weight: w, out: true }, { hiddenSize: 1024 });
`;

test.each([
  ['after calls on several threads', 'forward(); forward();', 0],
  ['after loading only', '', 0],
  ['when calls in flight have settled', 'forwardAsync(); forwardAsync().then(forward);', 0],
])('a process ends by itself %s', async (_, program, code) => {
  const { end, output } = await run(`${bigCall} ${program} process.stdout.write('done ' + y[5]);`);
  expect(end).toBe(code);
  expect(output).toBe('done 1');
});

test.each([
  ['process.exit() with calls in flight', 'process.exit(7);', 7],
  ['process.exit() in the next turn', 'setImmediate(() => process.exit(7));', 7],
  ['an exception with calls in flight', "throw new Error('expected');", 1],
  [
    'process.exit() with a busy worker',
    `const { Worker } = require('node:worker_threads');
     const data = { x: x.subarray(0, 4096), dy: x.subarray(0, 4096), weight: w };
     const worker = new Worker(${JSON.stringify(keepBusy)}, { eval: true, workerData: data });
     worker.on('message', () => process.exit(7));`,
    7,
  ],
])('a process ends on %s', async (_, program, code) => {
  for (let i = 0; i < 3; ++i) {
    const { end } = await run(`${bigCall} for (let i = 0; i < 8; ++i) forwardAsync(); ${program}`);
    expect(end).toBe(code);
  }
});
