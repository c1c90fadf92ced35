// The installed package in Windows' Node.js: what is special on Windows, and what must not differ.
// Run by scripts/test-windows.sh in the folder the package is installed in, with nvcuda.cc built
// next to it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

// Set by JavaScript, before the addon is loaded and reads them.
process.env.RMSNORM_NUM_THREADS = '3';
process.env.RMSNORM_CPU_VARIANT = 'scalar';

const require = createRequire(import.meta.url);
const lib = require('fused-rmsnorm');
const root = path.dirname(require.resolve('fused-rmsnorm/package.json'));
const binding = require('node-gyp-build')(root);
const driver = path.resolve('nvcuda.dll');

/**
 * Runs a program that has the package as `lib`. Returns its standard output, or if it failed its
 * exit status and all its output.
 */
function run(program, env = {}) {
  const text = `const lib = require('fused-rmsnorm'); ${program}`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', text], {
    env: { ...process.env, RMSNORM_NUM_THREADS: '', RMSNORM_CPU_VARIANT: '', ...env },
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : { status, stdout, stderr };
}

function random(length, seed) {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

test('the addon sees environment variables that JavaScript sets in process.env', () => {
  assert.equal(lib.getNumThreads(), 3);
  assert.equal(lib.getCpuVariant(), 'scalar');
  const code =
    'try { lib.getNumThreads() } catch (error) { console.log(error.code, error.message) }';
  assert.match(
    run(code, { RMSNORM_NUM_THREADS: 'fünf' }),
    /^ERR_\w+ .*RMSNORM_NUM_THREADS.*'fünf'/,
  );
});

test('every variant, any number of threads and asynchronous calls give the same bits', async () => {
  const hiddenSize = 1000;
  const x = random(300 * hiddenSize, 1);
  const dy = random(300 * hiddenSize, 2);
  const weight = random(hiddenSize, 3);
  const compute = () => {
    const { y, rstd } = lib.rmsNorm.forward(x, weight);
    return { y, rstd, ...lib.rmsNorm.backward(dy, x, weight, rstd) };
  };
  lib.setCpuVariant('scalar');
  lib.setNumThreads(1);
  const expected = compute();
  for (const variant of lib.cpuVariants()) {
    lib.setCpuVariant(variant);
    for (const threads of [1, 2, 7]) {
      lib.setNumThreads(threads);
      assert.deepEqual(compute(), expected);
      const calls = Array.from({ length: 8 }, () => lib.rmsNorm.forwardAsync(x, weight));
      for (const { y } of await Promise.all(calls)) assert.deepEqual(y, expected.y);
    }
  }
});

test('errors have types and codes', () => {
  const x = new Float32Array(8);
  assert.throws(() => lib.rmsNorm(x, new Float32Array(3)), { code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => lib.rmsNorm('x', null), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => lib.rmsNorm(x, null, { normalizedShape: 8, device: 'cuda' }), {
    code: 'ERR_CUDA_UNAVAILABLE',
  });
});

test('native functions called with any arguments fail with a code or do no harm', async () => {
  const names = Object.getOwnPropertyNames(binding);
  const functions = names.filter((name) => typeof binding[name] === 'function');
  assert.ok(functions.length >= 10);
  const values = [
    ...[undefined, null, true, '', 'scalar', '\ud800', Symbol('s'), 10n, [], {}, () => 4],
    ...[0, -1, 1, 1.5, 4, 257, NaN, Infinity, 2 ** 31, 2 ** 53, -(2 ** 53)],
    ...[new Float32Array(8), new Uint16Array(8), new Float64Array(0), new ArrayBuffer(8)],
    ...[new DataView(new ArrayBuffer(8)), new BigInt64Array(2), new Float32Array(64).subarray(3)],
  ];
  let state = 1;
  const draw = (end) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
  let refused = 0;
  for (let i = 0; i < 20_000; ++i) {
    const name = functions[draw(functions.length)];
    const args = Array.from({ length: draw(20) }, () => values[draw(values.length)]);
    try {
      await binding[name](...args);
    } catch (error) {
      ++refused;
      assert.match(String(error.code), /^ERR_/, `${name}: ${error.message}`);
    }
  }
  assert.ok(refused > 10_000, `${refused} were refused`);
});

test('a process ends with calls in flight', () => {
  const program = `
    const x = new Float32Array(2048 * 1024).fill(1);
    for (let i = 0; i < 8; ++i) lib.rmsNorm.async(x, null, { normalizedShape: 1024 });
    setTimeout(() => process.exit(7), 5);`;
  assert.deepEqual(run(program), { status: 7, stdout: '', stderr: '' });
});

const reason = 'console.log(lib.devices().length, lib.devices().reason)';

test('the driver is searched for only in the folders of the system', () => {
  assert.match(
    run(reason),
    /^0 CUDA is not available: .*'nvcuda\.dll' cannot be opened \(.*error 126\)$/,
  );
});

test('the driver loads from a path that is not ASCII, and a missing one is named', () => {
  assert.match(driver, /Ünï 应用/);
  assert.equal(run(reason, { RMSNORM_LIBCUDA: driver }), '0 cuDeviceGet failed: error 801');
  const slashes = driver.replaceAll('\\', '/');
  assert.equal(run(reason, { RMSNORM_LIBCUDA: slashes }), '0 cuDeviceGet failed: error 801');
  const other = path.resolve('另一个.dll');
  const answer = run(reason, { RMSNORM_LIBCUDA: other });
  assert.ok(answer.includes(`'${other}', named by RMSNORM_LIBCUDA, cannot be opened`), answer);
});

test('kernels that are missing or damaged are named', () => {
  const folder = path.join(root, 'prebuilds', 'cuda');
  const kernels = path.join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.fatbin')),
  );
  renameSync(kernels, `${kernels}.away`);
  const missing = run(reason, { RMSNORM_LIBCUDA: driver });
  writeFileSync(kernels, 'no kernels');
  const damaged = run(reason, { RMSNORM_LIBCUDA: driver });
  renameSync(`${kernels}.away`, kernels);
  assert.match(missing, /the file '\w+\.\w+\.fatbin' is in none of these folders: .*Ünï 应用/);
  assert.match(damaged, /Ünï 应用.*\.fatbin' is damaged/);
});
