// Asynchronous calls leave threads of libuv's pool to other work. Each test has its own process, since
// a process has one pool.

import { printedBy, runProgram } from '../support/processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

/** `order` has the names of calls in the order in which they ended. `read` and `stat` take almost no
 * time themselves; `stat` uses the pool once. */
const prelude = `
  const fs = require('node:fs');
  const { Worker, isMainThread, parentPort } = require('node:worker_threads');
  const { rmsNorm } = lib;
  const hiddenSize = 1024;
  const x = new Float32Array(2048 * hiddenSize).fill(0.5);
  const weight = new Float32Array(hiddenSize).fill(1);
  const order = [];
  const call = (name) => rmsNorm.async(x, weight).then(() => order.push(name));
  const long = new Float32Array(new SharedArrayBuffer(2 ** 27)).fill(0.5);
  const longCall = (name) =>
    rmsNorm.backwardAsync(long, long, weight, null, { dxOut: long, needsDweight: false })
      .then(() => order.push(name));
  const read = () => fs.promises.readFile('package.json');
  const stat = () => new Promise((resolve) => fs.stat('package.json', resolve));
`;

const printed = (program: string, environment: Record<string, string | undefined> = {}) =>
  printedBy(`${prelude} (async () => { ${program} })();`, {
    RMSNORM_NUM_THREADS: '1',
    UV_THREADPOOL_SIZE: undefined,
    ...environment,
  });

/**
 * Prints how many of 20 calls are done when `something`, which starts after them, is done. A call
 * takes some 50 ms, and makes no copies. A busy machine delays the file system much less.
 */
const overtaking = (something: string) => `
  const calls = Array.from({ length: 20 }, (_, i) => longCall(i));
  await ${something}();
  print(order.length);
  await Promise.all(calls);
  print(order.length);
`;

test('a read that starts after 20 calls waits for at most two of them', async () => {
  const [before, after] = await printed(overtaking('read'));
  expect(before).toBeLessThanOrEqual(2);
  expect(after).toBe(20);
});

test('in a pool of one thread, other work waits for at most one call', async () => {
  const [before, after] = await printed(overtaking('stat'), { UV_THREADPOOL_SIZE: '1' });
  expect(before).toBeLessThanOrEqual(1);
  expect(after).toBe(20);
});

test('calls run in the order in which they are made', async () => {
  // One thread, since the shorter of two calls at once may end first.
  const values = await printed(
    `await Promise.all(Array.from({ length: 20 }, (_, i) => call(i)));
     print(order);`,
    { UV_THREADPOOL_SIZE: '1' },
  );
  expect(values).toEqual([Array.from({ length: 20 }, (_, i) => i)]);
});

test('workers share the two slots, and the calls of each worker run', async () => {
  const worker = `
    require('tsx/cjs');
    const { rmsNorm } = require('./lib');
    const { parentPort } = require('node:worker_threads');
    const x = new Float32Array(512 * 1024).fill(0.5);
    const call = () => rmsNorm.async(x, null, { normalizedShape: 1024 });
    parentPort.once('message', async () => {
      const results = await Promise.all(Array.from({ length: 20 }, call));
      parentPort.postMessage(results.every((y) => y.every((value) => value === results[0][0])));
    });
    parentPort.postMessage('ready');
  `;
  const values = await printed(`
    const { once } = require('node:events');
    const workers = Array.from({ length: 4 }, () => new Worker(${JSON.stringify(worker)}, { eval: true }));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const answers = workers.map((worker) => once(worker, 'message'));
    for (const worker of workers) worker.postMessage('go');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const calls = Array.from({ length: 10 }, (_, i) => call(i));
    await read();
    const early = order.length;
    print(early < 10);
    print((await Promise.all(answers)).map(([isRight]) => isRight));
    await Promise.all(calls);
    print(order.length);
  `);
  expect(values).toEqual([true, [true, true, true, true], 10]);
});

test('a worker that is terminated with waiting calls releases its slots', async () => {
  const worker = `
    require('tsx/cjs');
    const { rmsNorm } = require('./lib');
    const x = new Float32Array(2048 * 1024).fill(0.5);
    for (let i = 0; i < 30; ++i) rmsNorm.async(x, null, { normalizedShape: 1024 });
    require('node:worker_threads').parentPort.postMessage('started');
  `;
  const values = await printed(`
    const { once } = require('node:events');
    for (let i = 0; i < 3; ++i) {
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
      await once(worker, 'message');
      const mine = [call('first'), call('second')];
      await worker.terminate();
      await Promise.all(mine);
      await call('third');
    }
    print(order.length);
  `);
  expect(values).toEqual([9]);
});

test.each([
  ['by itself', '', 0],
  ['by process.exit()', 'process.exit(7);', 7],
  ['by an exception', "throw new Error('expected');", 1],
])('a process ends %s with calls waiting', async (_, program, end) => {
  const ending = await runProgram(
    `${prelude} for (let i = 0; i < 30; ++i) call(i); process.on('exit', () => console.log(order.length)); ${program}`,
    { RMSNORM_NUM_THREADS: '1' },
  );
  expect(ending.end).toBe(end);
  if (end === 0) expect(ending.stdout.trim()).toBe('30');
});
