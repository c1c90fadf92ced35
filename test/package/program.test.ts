// Tests the program fused-rmsnorm as it ships: one file, with the packages that only it needs.

import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';

import { optionalPackages } from '../../bench/environment/optional-packages';
import { installedPackage, makeApplication, outputOf, removeFolders, run } from './application';

afterAll(removeFolders);

const folder = path.join(installedPackage, 'dist/bench');
const bundle = readFileSync(path.join(folder, 'cli.js'), 'utf8');

test('requires only this package, its dependency and the optional packages', () => {
  const wanted = Array.from(
    bundle.matchAll(/\b(?:require|import)\("([^"]+)"\)/g),
    ([, name]) => name,
  );
  const packages = new Set(wanted.filter((name) => !isBuiltin(name ?? '')));
  expect([...packages].sort()).toEqual(
    ['fused-rmsnorm', 'node-gyp-build', ...optionalPackages].sort(),
  );
});

test('includes the licence of each bundled package', () => {
  // esbuild writes a comment with the file name before each module.
  const modules = bundle.matchAll(/^ *\/\/ (?:.*\/)?node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm);
  const bundled = Array.from(new Set(Array.from(modules, ([, name]) => name)));
  expect(bundled).toEqual(expect.arrayContaining(['cli-progress', 'cli-table3', 'commander']));
  const licences = readFileSync(path.join(folder, 'LICENSES.txt'), 'utf8').split(/^-{80}\n\n/m);
  expect(licences.map((text) => /^(\S+)@\d+\.\d+\.\d+\n\n/.exec(text)?.[1]).sort()).toEqual(
    bundled.sort(),
  );
  for (const text of licences) expect(text).toMatch(/permission[^]*copyright notice|MIT License/i);
});

test('benchmarks without other packages', () => {
  const application = makeApplication();
  const args = ['--quick', '--shapes', '1x64', '--op', 'forward', '--time', '0.3'];
  const output = outputOf(application, 'node_modules/.bin/fused-rmsnorm', ['bench', ...args]);
  expect(output).toMatch(/rivals: javascript [^,]+, wasm-simd [^,]+, layer-norm /);
  expect(output).toMatch(/^ *shape .*\n─+\n *1x64 /m);
});

test('says why it cannot verify a GPU', () => {
  const application = makeApplication();
  const environment = { RMSNORM_LIBCUDA: path.join(application, 'no-such-library') };
  const program = 'node_modules/.bin/fused-rmsnorm';
  const { end, stdout, stderr } = run(application, program, ['verify'], environment);
  expect([end, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^CUDA is not available: .*no-such-library.*\n$/);
});
