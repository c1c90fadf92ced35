// Runs the programs of examples/ as users do. They check their own results, and end with an exit
// code other than 0 if one is wrong.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { hasSimulator, simulator } from '../support/processes';

const root = path.join(__dirname, '../..');
const tsx = path.join(root, 'node_modules/tsx/dist/cli.mjs');

/** The output of an example; rejects if the example fails. */
async function outputOf(example: string, environment: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [tsx, path.join(root, 'examples', example)],
    { cwd: root, env: { ...process.env, ...environment } },
  );
  return stdout;
}

const onSimulator = { RMSNORM_LIBCUDA: process.env['RMSNORM_LIBCUDA'] ?? simulator };
const withoutGPU = { RMSNORM_LIBCUDA: '/nowhere' };

test('train: the loss falls to a hundredth, and the text is learned', async () => {
  const output = await outputOf('train.mts', withoutGPU);
  const losses = [...output.matchAll(/loss (\S+)/g)].map(([, loss]) => Number(loss));
  expect(losses.length).toBe(5);
  expect(losses[4]).toBeLessThan((losses[0] as number) / 100);
  expect(output).toMatch(/it reads: each row is divided by its root mean square\n$/);
});

(hasSimulator ? test : test.skip)('train: a GPU learns the same bits', async () => {
  const output = await outputOf('train.mts', onSimulator);
  expect(output).toMatch(/: the same losses and weights, to the bit\n$/);
});

test('training: the loss falls at every step', async () => {
  const output = await outputOf('training.mts');
  const [, first, last] = /^loss (\S+) at first, (\S+) at last\n$/.exec(output) ?? [];
  expect(Number(last)).toBeLessThan(Number(first) / 1e6);
});

test('onnx: a tensor goes from a session through a norm into a session', async () => {
  expect(await outputOf('onnx.mts')).toBe('4x8 hidden states, normalised, 4x8 logits\n');
});

test('worker pool: every request is served, by several workers', async () => {
  const output = await outputOf('worker-pool.mts');
  const shares = /^200 requests, (.*) of them/.exec(output)?.[1]?.split(' + ').map(Number) ?? [];
  expect(shares.length).toBeGreaterThan(1);
  expect(Math.min(...shares)).toBeGreaterThan(0);
  expect(shares.reduce((a, b) => a + b, 0)).toBe(200);
  expect(output).toContain('every result has the bits of a call on the main thread\n');
});

describe('share device memory', () => {
  (hasSimulator ? test : test.skip)('works both ways, in place', async () => {
    const output = await outputOf('share-device-memory.mts', onSimulator);
    expect(output).toBe(
      '64 rows of theirs, normalised where they are\n64 rows of ours, read by their address\n',
    );
  });

  test('reports that there is no GPU, and succeeds', async () => {
    const output = await outputOf('share-device-memory.mts', withoutGPU);
    expect(output).toMatch(/^There is no GPU to share memory of\. .*\/nowhere/);
  });
});
