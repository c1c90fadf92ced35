// RMSNORM_NUM_THREADS in the `env` of a worker applies to the calls of that worker only.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const root = path.join(__dirname, '../..');
const loadBinding = `
  const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(${JSON.stringify(root)});
  const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
  const calls = nativeCalls(binding);
  const { readdirSync } = require('node:fs');
  const attempt = (call) => { try { return call(); } catch ({ code, message }) { return { code, message }; } };
  const count = () => attempt(() => binding.numThreads());
  const [x, w, y] = [1 << 20, 1024, 1 << 20].map((n) => new Float32Array(n).fill(1));
  const forward = () => attempt(() => calls.forward({ x, weight: w, out: y }, { hiddenSize: 1024 }) ?? 'done');
  const forwardAsync = () =>
    calls.forwardAsync({ x, weight: w, out: true }, { hiddenSize: 1024 })
      .then(() => 'done', ({ code }) => code);
`;

/** A worker: its options and the expression whose value it posts, both as source text. */
interface Case {
  readonly options: string;
  readonly program?: string;
}

/**
 * Runs workers one after another in a process with these environment variables; the process runs
 * `before` first. Returns for each worker its message, and the count of the main thread afterwards.
 */
async function resultsOf(
  cases: readonly Case[],
  env: Readonly<Record<string, string>> = {},
  before = '',
): Promise<unknown> {
  const workers = cases.map(({ options, program = 'count()' }) => {
    const code = `${loadBinding} (async () => require('node:worker_threads').parentPort.postMessage(await (${program})))()`;
    return `await run(${JSON.stringify(code)}, ${options}), count()`;
  });
  const main = `
    ${loadBinding}
    const { once } = require('node:events');
    const { SHARE_ENV, Worker } = require('node:worker_threads');
    const run = async (code, options) => {
      const worker = new Worker(code, { eval: true, ...options });
      const [[message]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      return message;
    };
    (async () => {
      ${before}
      process.stdout.write(JSON.stringify([${workers.join(', ')}]));
    })();
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', main], {
    env: { ...process.env, RMSNORM_NUM_THREADS: '3', ...env },
  });
  return JSON.parse(stdout);
}

const own = (count: string) => `{ env: { RMSNORM_NUM_THREADS: '${count}' } }`;

test('a worker has the number of threads of its own variable', async () => {
  expect(await resultsOf([{ options: own('1') }, { options: own('7') }])).toEqual([1, 3, 7, 3]);
});

test.each(['{}', '{ env: SHARE_ENV }', '{ env: {} }', own(''), own('3')])(
  'a worker with the options %s has the number of threads of the process',
  async (options) => {
    expect(await resultsOf([{ options }])).toEqual([3, 3]);
    const set = 'binding.setNumThreads(5);';
    expect(await resultsOf([{ options }, { options: own('1') }], {}, set)).toEqual([5, 5, 1, 5]);
    const program = '(binding.setNumThreads(6), count())';
    expect(await resultsOf([{ options, program }])).toEqual([6, 6]);
  },
);

test('setNumThreads in a worker with its own variable applies to that worker only', async () => {
  const program = '(binding.setNumThreads(9), count())';
  const cases = [{ options: own('2'), program }, { options: own('2') }];
  expect(await resultsOf(cases)).toEqual([9, 3, 2, 3]);
});

test('an invalid variable of a worker is an error of the calls of that worker', async () => {
  const program = `(async () => [
    count(), forward(), await forwardAsync(),
    (binding.setNumThreads(2), forward()), await forwardAsync(), count(),
  ])()`;
  const error = {
    code: 'ERR_INVALID_ENVIRONMENT',
    message:
      "The environment variable RMSNORM_NUM_THREADS must be an integer from 1 to 256. Received '0'",
  };
  expect(await resultsOf([{ options: own('0'), program }])).toEqual([
    [error, error, error.code, 'done', 'done', 2],
    3,
  ]);
  // An invalid variable of the process does not matter to a worker that has its own.
  const good = '(async () => [count(), forward(), await forwardAsync()])()';
  const results = await resultsOf([{ options: own('2'), program: good }], {
    RMSNORM_NUM_THREADS: 'abc',
  });
  expect(results).toEqual([
    [2, 'done', 'done'],
    { ...error, message: error.message.replace("'0'", "'abc'") },
  ]);
});

const onLinux = process.platform === 'linux' ? test : test.skip;
onLinux('the variable of a worker bounds the threads of calls of every kind', async () => {
  // libuv starts the threads of its pool at the first call that uses the pool.
  const program = `(async () => {
    await require('node:fs/promises').stat('.');
    const threads = () => readdirSync('/proc/self/task').length;
    const before = threads();
    const started = [];
    for (const call of [forward, forwardAsync]) {
      await call();
      started.push(threads() - before);
    }
    return started;
  })()`;
  const cases = ['1', '4'].map((count) => ({ options: own(count), program }));
  expect(await resultsOf(cases)).toEqual([[0, 0], 3, [3, 3], 3]);
});

test('a replaced process.env of the main thread counts, too', async () => {
  const program = `
    process.env = { RMSNORM_NUM_THREADS: '4' };
    ${loadBinding}
    process.stdout.write(String(binding.numThreads()));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program]);
  expect(stdout).toBe('4');
});

test.each([
  'process.env = new Proxy({}, { get() { throw new Error(); } });',
  'process.env = null;',
  'process.env = { RMSNORM_NUM_THREADS: 4 };',
  "Object.defineProperty(process, 'env', { get() { throw new Error(); } });",
])('the addon takes the variable of the process after %s', async (tamper) => {
  const program = `
    const load = require(${JSON.stringify(require.resolve('node-gyp-build'))}).resolve(${JSON.stringify(root)});
    ${tamper}
    const loaded = { exports: {} };
    process.dlopen(loaded, load);
    process.stdout.write(String(loaded.exports.numThreads()));
  `;
  const env = { ...process.env, RMSNORM_NUM_THREADS: '3' };
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { env });
  expect(stdout).toBe('3');
});
