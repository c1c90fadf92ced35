// Tests the rival in another process: its results, with PyTorch if this machine has it, otherwise
// with a stand-in in pure Python. The stand-in also provokes failures.

import { spawnSync } from 'node:child_process';
import path from 'node:path';

import { makeArrays } from '../../bench/cases/arrays';
import { dtypes, type Case } from '../../bench/cases/cases';
import { pytorch } from '../../bench/subjects/rivals/pytorch';
import { MissingRival, type LoadedRival } from '../../bench/subjects/rivals/rival';
import { childrenOf } from '../support/processes';
import { expectRight, ragged } from '../support/rivals';

const fake = path.join(__dirname, 'fake-torch');
const { PATH, PYTHONPATH } = process.env;

const ops = ['forward', 'backward', 'residual'] as const;
const small: Case = { op: 'forward', dtype: 'float32', castOrder: 'llama', rows: 2, hiddenSize: 8 };

function setVariable(name: string, value: string | undefined): void {
  if (value === undefined) Reflect.deleteProperty(process.env, name);
  else process.env[name] = value;
}

function useFake(failure?: string): void {
  setVariable('PYTHONPATH', fake);
  setVariable('FAKE_TORCH', failure);
  setVariable('PYTHONDONTWRITEBYTECODE', '1');
}

const hasPyTorch =
  spawnSync('python3', ['-c', 'import torch; torch.nn.functional.rms_norm']).status === 0;

afterEach(() => {
  setVariable('PATH', PATH);
  setVariable('PYTHONPATH', PYTHONPATH);
  setVariable('FAKE_TORCH', undefined);
});

describe(hasPyTorch ? 'PyTorch' : 'the stand-in for PyTorch', () => {
  let loaded: LoadedRival;
  beforeAll(async () => {
    if (!hasPyTorch) useFake();
    loaded = await pytorch.load();
  });
  afterAll(() => loaded.close?.());

  test('reports its version', () => {
    expect(loaded.version).toMatch(hasPyTorch ? /^2\.\d+/ : '2.99.0+fake');
  });

  const kinds = ops.flatMap((op) =>
    dtypes
      .filter((dtype) => pytorch.supports({ ...small, dtype }))
      .map((dtype) => ({ ...small, op, dtype })),
  );
  // PyTorch rounds a 16-bit sum as this package does, but a 16-bit dweight is not float32's.
  const checked = kinds.filter(
    ({ op, dtype }) => dtype === 'float32' || (hasPyTorch && op !== 'backward'),
  );
  describe.each(checked)('$op $dtype', (kind) => {
    test.each(ragged)('is right for %d x %d', (rows, hiddenSize) =>
      expectRight(pytorch, loaded, { ...kind, rows, hiddenSize }, 'fresh'),
    );
  });

  test('serves many cases at once', async () => {
    const cases = ops.map((op): Case => ({ ...small, op }));
    const prepared = await Promise.all(
      cases.map(async (one) => loaded.prepare(one, makeArrays(one), 'fresh')),
    );
    await Promise.all(prepared.map(async (each) => each.run(1)));
    const names = await Promise.all(
      prepared.map(async (each) => Object.keys(await each.results())),
    );
    expect(names).toEqual([['y'], ['dx', 'dweight'], ['y', 'sum']]);
    for (const each of prepared) await each.dispose?.();
  });
});

describe('the rival pytorch', () => {
  const missing = async (): Promise<MissingRival> => {
    const error = await pytorch.load().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(MissingRival);
    return error as MissingRival;
  };

  test('is missing without python3', async () => {
    setVariable('PATH', '/nowhere');
    const { message } = await missing();
    expect(message).toBe(
      'pytorch is not installed: python3 with PyTorch 2.4 or newer: pip install torch',
    );
  });

  test.each([
    ['broken', 'libtorch.so: cannot open shared object file'],
    ['old', 'PyTorch 2.99.0+fake has no rms_norm'],
  ])('is missing if PyTorch is %s', async (failure, reason) => {
    useFake(failure);
    const { hint } = await missing();
    expect(hint).toContain(`pip install torch (${reason})`);
  });

  test('rejects a request that fails, and answers the next one', async () => {
    useFake();
    const loaded = await pytorch.load();
    const arrays = makeArrays(small);
    const bad = { ...small, rows: 3 };
    await expect(loaded.prepare(bad, arrays, 'fresh')).rejects.toThrow(
      'python3: RuntimeError: shape (3, 8) is invalid for input of size 16',
    );
    const prepared = await loaded.prepare(small, arrays, 'fresh');
    expect(await prepared.run(1)).toBeGreaterThan(0);
    await loaded.close?.();
  });

  test('rejects all requests after a crash of the process', async () => {
    useFake('crash');
    const loaded = await pytorch.load();
    const prepared = await loaded.prepare(small, makeArrays(small), 'fresh');
    await expect(prepared.run(1)).rejects.toThrow('python3 ended: SIGABRT');
    await expect(prepared.run(1)).rejects.toThrow('python3 ended: SIGABRT');
    await loaded.close?.();
  });

  test('leaves no process behind if it is closed during a request', async () => {
    useFake();
    const before = childrenOf(process.pid);
    const loaded = await pytorch.load();
    const started = childrenOf(process.pid).filter((pid) => !before.includes(pid));
    expect(started).toHaveLength(2); // and the shell that watches it
    const prepared = await loaded.prepare(small, makeArrays(small), 'fresh');
    const running = prepared.run(20);
    await loaded.close?.();
    expect(await running).toBeGreaterThan(0);
    expect(childrenOf(process.pid)).toEqual(before);
  });
});
