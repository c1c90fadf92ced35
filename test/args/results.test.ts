// New arrays that calls return are ordinary arrays: collected and transferred like any other. Each
// test has its own process, since it measures the memory of a whole process.

import path from 'node:path';

import { printedBy, runProgram, type Ending } from '../support/processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const lib = JSON.stringify(path.join(__dirname, '../../lib'));

const MiB = 2 ** 20;

/** `settle` collects garbage. `held` returns the bytes of all ArrayBuffers. */
const prelude = `
  const { once } = require('node:events');
  const { Worker } = require('node:worker_threads');
  require('node:v8').setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  const { rmsNorm } = lib;
  const MiB = ${MiB};
  const settle = async () => {
    for (let i = 0; i < 5; ++i) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const held = () => process.memoryUsage().arrayBuffers;
  const x = new Float32Array(4 * MiB).fill(3);
  const options = { normalizedShape: 1024, eps: 0 };
  const isRight = (y) => y.length === x.length && y.every((value) => value === 1);
`;

const printed = (program: string, environment: Record<string, string> = {}) =>
  printedBy(`${prelude} (async () => { ${program} })();`, {
    RMSNORM_NUM_THREADS: '2',
    ...environment,
  });

test('the memory of every result is released', async () => {
  const values = await printed(`
    const weight = new Float32Array(1024).fill(1);
    const calls = [
      () => rmsNorm(x, weight),
      () => rmsNorm.forward(x, weight, { residual: x }),
      () => rmsNorm.backward(x, x, weight),
      () => rmsNorm.forwardAsync(x, weight, { residual: x }),
      () => rmsNorm.backwardAsync(x, x, weight),
      () => lib.toBFloat16(x),
    ];
    const before = held();
    for (const call of calls) for (let i = 0; i < 3; ++i) await call();
    await settle();
    print((held() - before) / MiB);
  `);
  expect(values[0]).toBeLessThan(1);
});

test('calls that throw release their memory', async () => {
  const values = await printed(
    `const before = held();
     for (let i = 0; i < 8; ++i) {
       for (const call of [rmsNorm, rmsNorm.async]) {
         const error = await (async () => call(x, null, options))().catch((error) => error);
         if (error.code !== 'ERR_INVALID_ENVIRONMENT') print(error);
       }
     }
     await settle();
     print((held() - before) / MiB);`,
    { RMSNORM_CPU_VARIANT: 'none such' },
  );
  expect(values).toHaveLength(1);
  expect(values[0]).toBeLessThan(1);
});

test.each(['rmsNorm', 'await rmsNorm.async'])(
  'a result of %s can be transferred to a worker',
  async (call) => {
    const values = await printed(`
    const program = \`
      const { parentPort } = require('node:worker_threads');
      parentPort.once('message', (y) => parentPort.postMessage(y.every((value) => value === 1)));
    \`;
    const y = ${call}(x, null, options);
    print(isRight(y));
    const worker = new Worker(program, { eval: true });
    worker.postMessage(y, [y.buffer]);
    print(y.length);
    print((await once(worker, 'message'))[0]);
  `);
    expect(values).toEqual([true, 0, true]);
  },
);

test('a result of a worker outlives the worker', async () => {
  const values = await printed(`
    const program = \`
      require('tsx/cjs');
      const { rmsNorm } = require(${lib.replaceAll('\\', '\\\\')});
      const x = new Float32Array(${4 * MiB}).fill(3);
      const options = { normalizedShape: 1024, eps: 0 };
      const { parentPort } = require('node:worker_threads');
      (async () => {
        const results = [rmsNorm(x, null, options), await rmsNorm.async(x, null, options)];
        parentPort.postMessage(results, results.map(({ buffer }) => buffer));
      })();
    \`;
    for (let i = 0; i < 2; ++i) {
      const worker = new Worker(program, { eval: true });
      const [[results]] = await Promise.all(['message', 'exit'].map((name) => once(worker, name)));
      await settle();
      print(results.map(isRight));
    }
  `);
  expect(values).toEqual([
    [true, true],
    [true, true],
  ]);
});

test.each([
  ['by itself', '', 0],
  ['by process.exit()', 'process.exit(7);', 7],
  ['by an exception', "throw new Error('expected');", 1],
])('a process ends %s with results alive and in flight', async (_, program, end) => {
  const ending: Ending = await runProgram(
    `${prelude}
     const y = rmsNorm(x, null, options);
     rmsNorm.async(x, null, options);
     ${program}`,
    {},
  );
  expect(ending.end).toBe(end);
});
