// The files of compiled kernels next to the addon: where they are looked for, and what an addon says
// that does not find its own. Each test has a copy of the addon in a folder of its own.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { readFatbin } from '../bench/fatbin';
import { shippedFatbin } from '../scripts/shipped-fatbin.js';
import { addon, hasSimulator, printedBy, simulator } from './processes';

const built = path.join(__dirname, '../build/cuda');
const isBuilt = hasSimulator && existsSync(built);
const names = isBuilt ? readdirSync(built).filter((name) => name.endsWith('.fatbin')) : [];
const onFiles = names.length > 0 ? describe : describe.skip;
const unlessFiles = names.length > 0 ? '' : ' (skipped: test/cudasim or nvcc is missing)';

let root = '';

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'rmsnorm-ö-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Copies the addon to a path below the folder, and its kernels to another. */
function place(copy: string, kernels: string): string {
  for (const name of names) cpSync(path.join(built, name), path.join(root, kernels, name));
  mkdirSync(path.dirname(path.join(root, copy)), { recursive: true });
  cpSync(addon, path.join(root, copy));
  return path.join(root, copy);
}

/** What forward of ones gives on a GPU, twice, and then on the CPU: 1, or the error. */
async function outcomesOf(copy: string, capability = '9.0'): Promise<unknown> {
  const program = `
    const binding = require(${JSON.stringify(copy)});
    const attempt = (format) => {
      const y = new Float32Array(4);
      try {
        binding.forward(new Float32Array(4).fill(1), null, y, null, 4, 0, 0, format);
        return y[3];
      } catch ({ code, message }) {
        return { code, message };
      }
    };
    print([attempt(32), attempt(32), attempt(0)]);
  `;
  const environment = { RMSNORM_LIBCUDA: simulator, CUDASIM_CC: capability };
  const [outcomes] = await printedBy(program, environment);
  return outcomes;
}

const unavailable = (message: string) => {
  const error = { code: 'ERR_CUDA_UNAVAILABLE', message: `CUDA is not available: ${message}` };
  return [error, error, 1];
};

onFiles(`kernels${unlessFiles}`, () => {
  test.each([
    ['build/Release/rmsnorm.node', 'build/cuda'],
    ['build/Release/rmsnorm.node', 'prebuilds/cuda'],
    ['prebuilds/linux-x64/rmsnorm.glibc.node', 'prebuilds/cuda'],
    ['bench/prebuilds/linux-x64/rmsnorm.node', 'prebuilds/cuda'],
  ])('of %s may be in %s', async (copy, kernels) => {
    expect(await outcomesOf(place(copy, kernels))).toEqual([1, 1, 1]);
  });

  test('of another build are not taken', async () => {
    const copy = place('build/Release/rmsnorm.node', 'other');
    for (const name of names) {
      const other = name.replace(/\.[0-9a-f]{16}\./, '.0123456789abcdef.');
      expect(other).not.toBe(name);
      cpSync(path.join(root, 'other', name), path.join(root, 'build/cuda', other));
    }
    expect(await outcomesOf(copy)).toEqual(
      unavailable(
        `the addon's kernels are missing: there is no file '${String(names[0])}' in any of ` +
          `'${root}/build/cuda', '${root}/prebuilds/cuda', '${path.dirname(root)}/prebuilds/cuda'`,
      ),
    );
  });

  test.each([
    ['cut short', (whole: Buffer) => whole.subarray(0, 1000)],
    ['empty', () => ''],
    ['no fatbins', () => 'version https://example.com\n'],
  ])('in files that are %s', async (_, damaged) => {
    const copy = place('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names.at(-1)));
    writeFileSync(file, damaged(readFileSync(file)));
    expect(await outcomesOf(copy)).toEqual(unavailable(`the file '${file}' of kernels is damaged`));
  });

  test('that the driver does not understand', async () => {
    const copy = place('build/Release/rmsnorm.node', 'build/cuda');
    const file = path.join(root, 'build/cuda', String(names[0]));
    writeFileSync(file, readFileSync(file).fill(0xff, 16, 80));
    const failure = expect.objectContaining({ code: 'ERR_CUDA_INVALID_IMAGE' }) as unknown;
    expect(await outcomesOf(copy)).toEqual([failure, failure, 1]);
  });

  test('of the package have all machine code, and the newest PTX', async () => {
    const copy = place('build/Release/rmsnorm.node', 'build/cuda');
    for (const name of names) {
      const file = path.join(root, 'build/cuda', name);
      const all = readFatbin(file).map(({ architecture }) => architecture);
      const ptx = all.filter((architecture) => architecture.startsWith('compute_'));
      expect(ptx.length).toBeGreaterThan(1);
      writeFileSync(file, shippedFatbin(readFileSync(file)));
      const shipped = readFatbin(file).map(({ architecture }) => architecture);
      const code = all.filter((architecture) => architecture.startsWith('sm_'));
      expect(shipped.toSorted()).toEqual([...code, 'compute_90'].sort());
    }
    expect(await outcomesOf(copy)).toEqual([1, 1, 1]);
    const failure = expect.objectContaining({ code: 'ERR_CUDA_NO_BINARY_FOR_GPU' }) as unknown;
    expect(await outcomesOf(copy, '8.0')).toEqual([failure, failure, 1]); // simulated: by PTX alone
  });

  test('are read once a process', async () => {
    const copy = place('build/Release/rmsnorm.node', 'build/cuda');
    const program = `
      const { rmSync } = require('node:fs');
      const { Worker } = require('node:worker_threads');
      const forward = (binding) => {
        const y = new Float32Array(4);
        binding.forward(new Float32Array(4).fill(1), null, y, null, 4, 0, 0, 32);
        return y[3];
      };
      const run = () =>
        new Promise((resolve, reject) => {
          const program =
            'const forward = ' + forward + ';' +
            'require("node:worker_threads").parentPort.postMessage(forward(require(' +
            ${JSON.stringify(JSON.stringify(copy))} + ')));';
          new Worker(program, { eval: true }).on('message', resolve).on('error', reject);
        });
      (async () => {
        const first = await run();
        rmSync(${JSON.stringify(path.join(root, 'build/cuda'))}, { recursive: true });
        print([first, await run()]);
      })();
    `;
    expect(await printedBy(program, { RMSNORM_LIBCUDA: simulator })).toEqual([[1, 1]]);
  });
});
