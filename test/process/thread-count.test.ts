// Without a setting, the number of threads is what the system lets the process use. The tests run in
// their own processes, under limits.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { getNumThreads, getNumThreadsSource, setNumThreads } from '../../lib';
import { allowed, makeQuotaGroup, pinTo, processors, type Limit } from '../support/cpu-limits';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const root = path.join(__dirname, '../..');

const prelude = `
  const lib = require(${JSON.stringify(path.join(root, 'lib'))});
  const { createHash } = require('node:crypto');
  const { once } = require('node:events');
  const { Worker } = require('node:worker_threads');
  const count = () => [lib.getNumThreads(), lib.getNumThreadsSource()];
  const print = (value) => process.stdout.write(JSON.stringify(value));
`;

/** What a program prints in a process under a limit, with RMSNORM_NUM_THREADS or without. */
async function resultOf(limit: Limit, program: string, variable = ''): Promise<unknown> {
  if ('missing' in limit) throw new Error(limit.missing);
  const node = [process.execPath, '-r', 'tsx/cjs', '-e', prelude + program];
  const [file = '', ...args] = [...limit.command, ...node];
  const env = { ...process.env, RMSNORM_NUM_THREADS: variable };
  const { stdout } = await promisify(execFile)(file, args, { env, cwd: root });
  return JSON.parse(stdout);
}

const unlimited: Limit = { command: [] };

/** A test that needs a limit. If there is none, it is skipped, with the reason in its name. */
function testUnder(limit: Limit, name: string, body: () => Promise<void>): void {
  if ('missing' in limit) {
    test.skip(`${name} (skipped: ${limit.missing})`, body);
  } else {
    test(name, body);
  }
}

/** `sum` is the hash of the results of large calls, on the default number of threads. */
const hash = `
  const [rows, hiddenSize] = [2048, 768];
  const array = (length, seed) => Float32Array.from({ length }, (_, i) => Math.sin(seed + i));
  const [x, dy, weight] = [array(rows * hiddenSize, 1), array(rows * hiddenSize, 2), array(hiddenSize, 3)];
  const { y, rstd } = lib.rmsNorm.forward(x, weight);
  const { dx, dweight } = lib.rmsNorm.backward(dy, x, weight, rstd);
  const sum = createHash('sha256');
  for (const each of [y, rstd, dx, dweight]) sum.update(each);
`;

describe('an affinity mask', () => {
  const one = pinTo(1);
  const two = pinTo(2);

  testUnder(one, 'of one processor gives one thread', async () => {
    const source = processors > 1 ? 'affinity mask' : 'processors';
    expect(await resultOf(one, 'print(count())')).toEqual([1, source]);
  });

  testUnder(two, 'of two processors gives at most two threads', async () => {
    const result = await resultOf(two, 'print(count())');
    expect([2, 1]).toContain((result as [number])[0]); // 1 under a quota
    if (processors > 2) expect(result).not.toContain('processors');
  });

  testUnder(one, 'bounds the threads that a call starts', async () => {
    const threads = "require('node:fs').readdirSync('/proc/self/task').length";
    const program = `const before = ${threads}; ${hash} print(${threads} - before)`;
    expect(await resultOf(one, program)).toBe(0);
    expect(await resultOf(one, program, '4')).toBe(3);
  });

  testUnder(one, 'yields to RMSNORM_NUM_THREADS and setNumThreads', async () => {
    const set = 'const counts = [count()]; lib.setNumThreads(7); print([...counts, count()])';
    expect(await resultOf(one, set, '5')).toEqual([
      [5, 'RMSNORM_NUM_THREADS'],
      [7, 'setNumThreads'],
    ]);
    expect(await resultOf(one, 'lib.setNumThreads(9); print(count())')).toEqual([
      9,
      'setNumThreads',
    ]);
  });

  testUnder(one, 'does not change a bit of a result', async () => {
    const program = `${hash} print([lib.getNumThreads(), sum.digest('hex')])`;
    const [, expected] = (await resultOf(unlimited, program)) as [number, string];
    expect(await resultOf(one, program)).toEqual([1, expected]);
    expect(await resultOf(one, program, '8')).toEqual([8, expected]);
  });
});

describe("a cgroup's quota", () => {
  const group = makeQuotaGroup();
  afterAll(() => group.remove());

  const isLimited = allowed.length < 2 || getNumThreadsSource().includes('quota');
  const limit = isLimited
    ? { missing: 'this process may use one processor, or has a quota itself' }
    : group.limit;

  testUnder(limit, 'is rounded up, and applies from an ancestor', async () => {
    for (const [quota, text] of [
      [0.5, 'cgroup quota of 0.5 processors'],
      [0.75, 'cgroup quota of 0.75 processors'],
      [1, 'cgroup quota of 1 processor'],
    ] as const) {
      group.setQuota(quota);
      expect(await resultOf(limit, 'print(count())')).toEqual([1, text]);
    }
  });

  testUnder(limit, 'is not the source if it allows a thread for every processor', async () => {
    group.setQuota(allowed.length - 0.5);
    const source = allowed.length < processors ? 'affinity mask' : 'processors';
    expect(await resultOf(limit, 'print(count())')).toEqual([allowed.length, source]);
  });

  testUnder(
    limit,
    'yields to RMSNORM_NUM_THREADS, and does not change a bit of a result',
    async () => {
      group.setQuota(1);
      const program = `${hash} print([...count(), sum.digest('hex')])`;
      const [, , expected] = (await resultOf(unlimited, program)) as [number, string, string];
      expect(await resultOf(limit, program)).toEqual([1, 'cgroup quota of 1 processor', expected]);
      expect(await resultOf(limit, program, '4')).toEqual([4, 'RMSNORM_NUM_THREADS', expected]);
    },
  );
});

testUnder(pinTo(2), 'the number of threads does not change with a later mask', async () => {
  const program = `
    const before = count();
    const { spawnSync } = require('node:child_process');
    spawnSync('taskset', ['-cp', '${allowed[0] ?? 0}', String(process.pid)]);
    const after = count();
    print([before, after]);
  `;
  const [before, after] = (await resultOf(unlimited, program)) as [unknown, unknown];
  expect(after).toEqual(before);
});

test('getNumThreadsSource names the source in each worker', async () => {
  const program = `
    const code = ${JSON.stringify(prelude)} +
      'require("node:worker_threads").parentPort.postMessage([count(), (lib.setNumThreads(6), count())])';
    const run = async (options) => {
      const worker = new Worker(code, { eval: true, execArgv: ['-r', 'tsx/cjs'], ...options });
      const [[message]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      return [...message, count()];
    };
    (async () => {
      const own = await run({ env: { ...process.env, RMSNORM_NUM_THREADS: '4' } });
      print([...own, ...(await run({}))]);
    })();
  `;
  expect(await resultOf(unlimited, program, '3')).toEqual([
    [4, 'RMSNORM_NUM_THREADS'],
    [6, 'setNumThreads'],
    [3, 'RMSNORM_NUM_THREADS'], // in the main thread
    [3, 'RMSNORM_NUM_THREADS'],
    [6, 'setNumThreads'],
    [6, 'setNumThreads'], // in the process, main thread included
  ]);
});

test('an invalid RMSNORM_NUM_THREADS is an error of getNumThreadsSource, too', async () => {
  const program = 'try { print(lib.getNumThreadsSource()) } catch ({ code }) { print(code) }';
  expect(await resultOf(unlimited, program, 'abc')).toBe('ERR_INVALID_ENVIRONMENT');
});

test('getNumThreadsSource names setNumThreads after a call of it', () => {
  setNumThreads(getNumThreads());
  expect(getNumThreadsSource()).toBe('setNumThreads');
});
