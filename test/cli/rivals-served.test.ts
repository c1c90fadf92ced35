// Rivals in separate processes: each is stopped between two requests, and none outlives the
// benchmark, however it ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { makeArrays } from '../../bench/cases/arrays';
import type { Case } from '../../bench/cases/cases';
import { rivals } from '../../bench/subjects/rivals';
import type { LoadedRival, Rival } from '../../bench/subjects/rivals/rival';
import { childrenOf } from '../support/processes';
import { cli, root } from './program';

const small: Case = {
  ...{ op: 'forward', dtype: 'float32', castOrder: 'llama', rows: 2, hiddenSize: 8 },
};

/** The state of a process, such as 'T' if it is stopped; 'gone' if there is no such process. */
function stateOf(pid: string): string {
  if (!existsSync(`/proc/${pid}/stat`)) return 'gone';
  return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
}

function commandOf(pid: string): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
}

/** Waits until the state is one of `states`, but only some seconds. Returns the state. */
async function reached(pid: string, states: readonly string[]): Promise<string> {
  for (let i = 0; i < 500 && !states.includes(stateOf(pid)); ++i) await setTimeout(10);
  return stateOf(pid);
}

describe('onnxruntime-node', () => {
  const onnxruntime = rivals.find(({ name }) => name === 'onnxruntime-node') as Rival;
  let loaded: LoadedRival;
  let pid: string;

  beforeAll(async () => {
    const before = childrenOf(process.pid);
    loaded = await onnxruntime.load();
    const started = childrenOf(process.pid).filter((each) => !before.includes(each));
    pid = started.find((each) => commandOf(each).includes('serve-rival')) ?? '';
    expect(started).toHaveLength(2); // and the shell that watches it
  });

  test('is stopped between requests, and still answers', async () => {
    expect(await reached(pid, ['T'])).toBe('T');
    const prepared = await loaded.prepare(small, makeArrays(small), 'given');
    expect(await reached(pid, ['T'])).toBe('T');
    const running = prepared.run(200_000);
    expect(await reached(pid, ['R', 'S'])).toMatch(/[RS]/);
    expect(await running).toBeGreaterThan(0);
    expect(await reached(pid, ['T'])).toBe('T');
    await prepared.dispose?.();
  });

  test('rejects a request that fails, and answers the next one', async () => {
    const arrays = makeArrays(small);
    const bad = { ...small, dtype: 'bfloat16' } as const;
    await expect(loaded.prepare(bad, arrays, 'given')).rejects.toThrow(
      'TypeError: No model of SimplifiedLayerNormalization for bfloat16',
    );
    const prepared = await loaded.prepare(small, arrays, 'given');
    expect(await prepared.run(1)).toBeGreaterThan(0);
  });

  test('ends when it is closed', async () => {
    await loaded.close?.();
    expect(stateOf(pid)).toBe('gone');
  });
});

test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
  'a served rival ends when %s ends the benchmark',
  async (signal) => {
    const program = path.join(root, 'dist/bench/cli.js');
    const args = ['bench', '--shapes', '512x4096', '--rivals', 'onnxruntime-node'];
    const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-served-'));
    const env = { ...process.env, TMPDIR: folder };
    const benchmark = spawn(process.execPath, [program, ...args], { cwd: root, env });
    await once(benchmark.stderr, 'data'); // the first case, after rivals were loaded
    const children = childrenOf(benchmark.pid as number);
    expect(children).toHaveLength(2);
    benchmark.kill(signal);
    await once(benchmark, 'close');
    for (const pid of children) expect(await reached(pid, ['gone'])).toBe('gone');
    if (signal === 'SIGINT') expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  },
);

test('an unknown rival cannot be served', async () => {
  const { end, stdout, stderr } = await cli(['serve-rival', 'nobody']);
  expect([end, stdout, stderr]).toEqual([1, '', "There is no rival 'nobody' to serve.\n"]);
});
